/**
 * Characters that a terminal interprets instead of showing: control characters (C0 except tab, DEL,
 * C1), line separators, and characters that change the direction of text.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: those are what this is about.
const unsafe = /[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;
/** The sequences that `styled` writes around a text: colours and bold, which can't hide text. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these begin with one.
const style = /(\x1b\[(?:1|2|22|3[1-6]|39)m|\n)/;

/**
 * Returns one line that is safe for a terminal, with unsafe characters escaped as in JSON
 * (`\u001b`). Names, messages and manifests are untrusted input.
 */
export function printable(text: string): string {
  return text.replace(unsafe, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
}

/** Returns lines that are safe for a terminal, with their styles. JSON stays equivalent JSON. */
export function printableLines(text: string): string {
  return text
    .split(style)
    .map((part, i) => (i % 2 === 1 ? part : printable(part)))
    .join('');
}
