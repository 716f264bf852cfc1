import { type AST, parse } from 'svelte/compiler';

/** TypeScript that checks like a component, and the component's line (from 1) of each of its lines. */
export interface ComponentTypes {
  readonly code: string;
  readonly lines: readonly number[];
}

/**
 * Returns TypeScript with the script of a component and its template as statements, for the type checker. The
 * code is never run. Svelte's own tool for this needs the API of TypeScript 6, which TypeScript 7 has not.
 *
 * @throws Error if the component has a construct that the page does not use.
 */
export function typesOfComponent(source: string): ComponentTypes {
  const { module, instance, fragment } = parse(source, { modern: true });
  const out = new Writer(source);
  out.add(prelude);
  if (module) out.addSource(scriptRange(source, module));
  if (instance) out.addSource(scriptRange(source, instance));
  out.add('export function template$() {\n');
  addFragment(out, fragment);
  out.add(`}\nexport default null! as Component$<${propsType(source, instance)}>;\n`);
  return out.result();
}

const prelude = [
  "import type { Component as Component$, Snippet as Snippet$ } from 'svelte';",
  "import type { SvelteHTMLElements as Elements$ } from 'svelte/elements';",
  'declare function element$<Name extends keyof Elements$>(name: Name, values: Elements$[Name]): void;',
  'declare function component$<Props extends Record<string, any>>(it: Component$<Props>, props: NoInfer<Props>): void;',
  'declare function each$<Item>(items: Iterable<Item> | ArrayLike<Item> | undefined | null): Iterable<Item>;',
  'declare function snippet$<Args extends unknown[]>(it: (...args: Args) => void): Snippet$<Args>;',
  'void element$; void component$; void each$; void snippet$; null! as Snippet$;',
  '',
].join('\n');

type Range = { readonly start: number; readonly end: number };

/** Collects code, and for each line where it comes from. */
class Writer {
  readonly #source: string;
  readonly #lines: number[] = [];
  #code = '';
  #line = 1;

  constructor(source: string) {
    this.#source = source;
  }

  /** Adds code of our own; it counts as being where the last source was. */
  add(code: string): void {
    this.#append(code, () => this.#line);
  }

  /** Adds a part of the component. */
  addSource({ start, end }: Range): void {
    const first = this.#source.slice(0, start).split('\n').length;
    this.#append(this.#source.slice(start, end), (index) => first + index);
  }

  result(): ComponentTypes {
    return { code: this.#code, lines: [...this.#lines, this.#line] };
  }

  #append(code: string, lineOf: (index: number) => number): void {
    for (const [index, part] of code.split('\n').entries()) {
      if (index > 0) {
        this.#code += '\n';
        this.#lines.push(this.#line);
      }
      this.#line = lineOf(index);
      this.#code += part;
    }
  }
}

/** Returns where the content of a script is, without its tags. */
function scriptRange(source: string, script: AST.Script): Range {
  const start = source.indexOf('>', script.start) + 1;
  return { start, end: source.lastIndexOf('</script', script.end) };
}

/** Returns the type that the component gives to the value of `$props()`. */
function propsType(source: string, instance: AST.Script | null): string {
  if (!instance) return 'Record<string, never>';
  const { start, end } = scriptRange(source, instance);
  const [, type] = /:\s*([\w.]+)\s*=\s*\$props\(\)/.exec(source.slice(start, end)) ?? [];
  return type ?? 'Record<string, never>';
}

function addFragment(out: Writer, { nodes }: AST.Fragment): void {
  const isSnippet = (node: AST.Fragment['nodes'][number]) => node.type === 'SnippetBlock';
  // Snippets can be used before them.
  const ordered = [...nodes.filter(isSnippet), ...nodes.filter((node) => !isSnippet(node))];
  for (const node of ordered) addNode(out, node);
}

function addStatement(out: Writer, before: string, expression: unknown, after: string): void {
  out.add(before);
  out.addSource(expression as Range);
  out.add(after);
}

function addNode(out: Writer, node: AST.Fragment['nodes'][number]): void {
  switch (node.type) {
    case 'Text':
    case 'Comment':
      break;
    case 'ExpressionTag':
      addStatement(out, 'void (', node.expression, ');\n');
      break;
    case 'RenderTag':
      addStatement(out, 'void (', node.expression, ');\n');
      break;
    case 'ConstTag':
      addStatement(out, '', node.declaration, ';\n');
      break;
    case 'IfBlock':
      addStatement(out, 'if (', node.test, ') {\n');
      addFragment(out, node.consequent);
      out.add('}');
      if (node.alternate) {
        out.add(' else {\n');
        addFragment(out, node.alternate);
        out.add('}');
      }
      out.add('\n');
      break;
    case 'EachBlock':
      addEach(out, node);
      break;
    case 'KeyBlock':
      addStatement(out, '{ void (', node.expression, ');\n');
      addFragment(out, node.fragment);
      out.add('}\n');
      break;
    case 'SnippetBlock':
      addSnippet(out, node);
      break;
    case 'RegularElement':
    case 'SvelteWindow':
    case 'SvelteDocument':
    case 'SvelteHead':
      addElement(out, node);
      break;
    case 'Component':
      addComponent(out, node);
      break;
    default:
      throw new Error(`check types of a component: ${node.type} is not known to the type check`);
  }
}

function addEach(out: Writer, node: AST.EachBlock): void {
  out.add('for (const ');
  if (node.context) out.addSource(node.context as unknown as Range);
  else out.add('item$');
  addStatement(out, ' of each$(', node.expression, ')) {\n');
  if (node.index) out.add(`const ${node.index} = 0 as number; void ${node.index};\n`);
  if (!node.context) out.add('void item$;\n');
  if (node.key) addStatement(out, 'void (', node.key, ');\n');
  addFragment(out, node.body);
  out.add('}\n');
  if (node.fallback) addFragment(out, node.fallback);
}

function addSnippet(out: Writer, node: AST.SnippetBlock): void {
  addStatement(out, 'const ', node.expression, ' = snippet$((');
  for (const parameter of node.parameters) addStatement(out, '', parameter, ', ');
  out.add(') => {\n');
  addFragment(out, node.body);
  out.add('});\n');
}

type Attributes = AST.RegularElement['attributes'];

function addElement(
  out: Writer,
  node: AST.RegularElement | AST.SvelteWindow | AST.SvelteDocument | AST.SvelteHead,
): void {
  out.add(`element$(${JSON.stringify(node.name)}, {\n`);
  addAttributes(out, node.attributes);
  out.add('});\n');
  addDirectives(out, node.attributes);
  out.add('{\n');
  addFragment(out, node.fragment);
  out.add('}\n');
}

function addComponent(out: Writer, node: AST.Component): void {
  out.add('{\n');
  const snippets = node.fragment.nodes.filter((child) => child.type === 'SnippetBlock');
  addFragment(out, node.fragment);
  out.add(`component$(${node.name}, {\n`);
  addAttributes(out, node.attributes);
  for (const snippet of snippets) addStatement(out, '', snippet.expression, ',\n');
  const isContent = ({ type, ...child }: AST.Fragment['nodes'][number]) =>
    type !== 'SnippetBlock' && type !== 'Comment' && !('data' in child && child.data.trim() === '');
  if (node.fragment.nodes.some(isContent)) out.add('children: null! as Snippet$,\n');
  out.add('});\n');
  addDirectives(out, node.attributes);
  out.add('}\n');
}

function addAttributes(out: Writer, attributes: Attributes): void {
  for (const attribute of attributes) {
    if (attribute.type === 'SpreadAttribute') {
      addStatement(out, '...(', attribute.expression, '),\n');
    } else if (attribute.type === 'Attribute') {
      out.add(`${JSON.stringify(attribute.name)}: `);
      // The types of these attributes want numbers; Svelte takes their text.
      if (/^(tabindex|colspan|rowspan)$/.test(attribute.name)) out.add('+');
      addValue(out, attribute.value);
      out.add(',\n');
    }
  }
}

function addValue(out: Writer, value: AST.Attribute['value']): void {
  const [only] = Array.isArray(value) ? value : [];
  if (value === true) out.add('true');
  else if (!Array.isArray(value)) addStatement(out, '(', value.expression, ')');
  else if (value.length === 1 && only?.type === 'Text') out.add(JSON.stringify(only.data));
  else {
    out.add('`');
    for (const part of value) {
      if (part.type === 'ExpressionTag') addStatement(out, '${', part.expression, '}');
    }
    out.add('`');
  }
}

function addDirectives(out: Writer, attributes: Attributes): void {
  for (const attribute of attributes) {
    if (attribute.type === 'StyleDirective') {
      out.add('void (');
      addValue(out, attribute.value);
      out.add(');\n');
    } else if ('expression' in attribute && attribute.type !== 'SpreadAttribute') {
      if (attribute.expression) addStatement(out, 'void (', attribute.expression, ');\n');
    }
  }
}
