import { isAlias, isNode, isScalar, parseDocument, visit } from 'yaml';

/** A text that is not valid YAML. */
export class YamlError extends Error {
  override readonly name = 'YamlError';
  /** The line, counted from 0. */
  readonly line: number;
  /** The kind of error in one word, which unlike the message has nothing of the text. */
  readonly code: string;

  constructor(message: string, line: number, code: string) {
    super(message);
    this.line = line;
    this.code = code;
  }
}

/** The limit of the text. The parser needs 2 s and 100 MiB of memory for each MiB. */
const maxLength = 4 << 20;

/** The limit of anchors and aliases in a document: resolving an alias visits all of them. */
const maxAliases = 1000;

/**
 * Reads one YAML or JSON document in a time proportional to its length, whatever its content. Keys of a map
 * must differ. Throws YamlError.
 */
export function parseYaml(text: string, options: { readonly merge?: boolean } = {}): unknown {
  const deepLine = findDeepNesting(text);
  if (deepLine !== undefined)
    throw new YamlError('document is nested too deeply', deepLine, 'TOO_DEEP');
  if (/^\s*[{[]/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // JSON is YAML, too, and the error of the YAML parser has the line.
    }
  }
  if (text.length > maxLength) {
    const most = `${maxLength >> 20} MiB`;
    const remedy = 'divide it by lines of ---, or write JSON';
    throw new YamlError(`document is longer than ${most} (${remedy})`, 0, 'TOO_LONG');
  }
  const document = parseDocument(text, {
    prettyErrors: false,
    merge: options.merge ?? false,
    // Warnings would bypass the agent's log.
    logLevel: 'error',
    // The parser compares each key with all others of its map; checkNodes does it in linear time.
    uniqueKeys: false,
  });
  const fail = (message: string, at: number, code: string) =>
    new YamlError(message, countLines(text, at), code);
  const [error] = document.errors;
  if (error) {
    const [cause] = error.message.split('\n');
    throw fail(`not valid YAML: ${cause}`, error.pos[0], error.code);
  }
  checkNodes(document, fail);
  try {
    return document.toJS();
  } catch (problem) {
    // For unresolved aliases, and for those that multiply the text.
    throw fail(`document can't be read: ${(problem as Error).message}`, 0, 'BAD_ALIAS');
  }
}

/** Throws for duplicate keys, and for too many anchors and aliases. */
function checkNodes(
  document: ReturnType<typeof parseDocument>,
  fail: (message: string, at: number, code: string) => YamlError,
): void {
  let aliases = 0;
  visit(document, (_key, node) => {
    if (isAlias(node) || (isNode(node) && node.anchor !== undefined)) {
      if (++aliases <= maxAliases) return;
      const message = `document has more than ${maxAliases} anchors and aliases`;
      throw fail(message, node.range?.[0] ?? 0, 'TOO_MANY_ALIASES');
    }
  });
  visit(document, {
    Map(_key, { items }) {
      const keys = new Set<unknown>();
      for (const { key } of items) {
        if (!isScalar(key)) continue;
        if (keys.has(key.value)) {
          throw fail(
            'not valid YAML: Map keys must be unique',
            key.range?.[0] ?? 0,
            'DUPLICATE_KEY',
          );
        }
        keys.add(key.value);
      }
    },
  });
}

const deepestBrackets = 200;
const deepestIndent = 400;

/**
 * Returns the line at which a document has far more levels than any Kubernetes object, by brackets or by
 * indentation; undefined if there is none. The parsers recurse, and not every engine survives a stack
 * overflow.
 */
function findDeepNesting(text: string): number | undefined {
  let line = 0;
  let brackets = 0;
  let indent = 0;
  let isIndent = true;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '\n') {
      line++;
      indent = 0;
      isIndent = true;
      continue;
    }
    if (isIndent) {
      // `- - a` has as many levels as two lines.
      if (character === ' ' || character === '-' || character === '?') indent++;
      else isIndent = false;
    }
    if (character === '[' || character === '{') brackets++;
    else if ((character === ']' || character === '}') && brackets > 0) brackets--;
    if (brackets > deepestBrackets || indent > deepestIndent) return line;
  }
  return undefined;
}

function countLines(text: string, end: number): number {
  let lines = 0;
  for (let at = text.indexOf('\n'); at >= 0 && at < end; at = text.indexOf('\n', at + 1)) lines++;
  return lines;
}
