import { RE2JS } from '@bufbuild/re2';
import { FilterError } from './errors.ts';

/** The longest expression of a filter, in UTF-16 units. A longer one is refused. */
const expressionMax = 4096;

/** Returns true if a text matches. */
export type TextMatch = (text: string) => boolean;

/**
 * Compiles regular expressions in RE2's syntax, as Hubble has them. The result is true for a text in which
 * any of them matches anywhere; its time is linear in the text, whatever the expression is. Throws
 * FilterError that names `field`.
 */
export function anyRegex(field: string, expressions: readonly string[]): TextMatch {
  const compiled = expressions.map((expression) => {
    checkLength(field, expression);
    try {
      return RE2JS.compile(expression);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new FilterError(field, `"${expression}" is no regular expression: ${why}`, { cause });
    }
  });
  return (text) => compiled.some((each) => each.test(text));
}

/** Throws FilterError if an expression is longer than filters may have. */
export function checkLength(field: string, expression: string): void {
  if (expression.length <= expressionMax) return;
  const length = `has ${expression.length} characters; at most ${expressionMax} are allowed`;
  throw new FilterError(field, `the expression ${length}`);
}

/** A part of a name that `*` matches, and a whole name. */
const wild = '[-.0-9a-z]*';
const anyName = '(?:[-0-9_a-z]+(?:\\.[-0-9_a-z]+)*)';

/**
 * Compiles patterns of DNS names, where `*` matches any characters of a name. Case and one dot at the end
 * of a pattern do not count. Throws FilterError that names `field`.
 */
export function anyDnsName(field: string, patterns: readonly string[]): TextMatch {
  return whole(patterns.map((pattern) => namePattern(field, pattern, pattern)));
}

/**
 * Compiles patterns of nodes: `CLUSTER/NODE`, `CLUSTER/`, or a node of any cluster. Both parts are patterns
 * as of DNS names. The result takes the name of a node, whose cluster is `default` if it has none. Throws
 * FilterError that names `field`.
 */
export function anyNodeName(field: string, patterns: readonly string[]): TextMatch {
  const matches = whole(
    patterns.map((pattern) => {
      if (pattern === '') throw new FilterError(field, 'a pattern is empty');
      const parts = pattern.split('/');
      if (parts.length > 2) throw new FilterError(field, `"${pattern}" has more than one "/"`);
      const [cluster, node] = parts.length === 2 ? parts : ['', parts[0]];
      const part = (text: string) => (text === '' ? anyName : namePattern(field, pattern, text));
      return `${part(cluster!)}/${part(node!)}`;
    }),
  );
  return (name) => name !== '' && matches(name.includes('/') ? name : `default/${name}`);
}

/** Returns the regular expression of one part of a pattern. */
function namePattern(field: string, pattern: string, part: string): string {
  checkLength(field, pattern);
  const name = part.trim().replace(/\.$/, '').toLowerCase();
  if (name === '') throw new FilterError(field, `"${pattern}" has an empty name`);
  if (name.endsWith('.')) throw new FilterError(field, `"${pattern}" ends with several dots`);
  const wrong = /[^-._*0-9a-z]/u.exec(name);
  if (wrong) {
    throw new FilterError(field, `"${pattern}" has "${wrong[0]}", which no name can have`);
  }
  return name.replace(/[.*]/g, (each) => (each === '.' ? '\\.' : wild));
}

/** The alternatives are matched by RE2: several `*` in a pattern cost no more than one. */
function whole(alternatives: readonly string[]): TextMatch {
  const compiled = RE2JS.compile(`(?:${alternatives.join('|')})`);
  return (text) => compiled.testExact(text);
}
