/** Returns the text without spaces and tabs around it. A regular expression would take quadratic time. */
export function trimBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

/** Returns the text without names and passwords in its URLs, also in malformed ones. */
export function withoutCredentials(text: string): string {
  if (!text.includes('@')) return text;
  return text
    .split(/(\s+)/)
    .map((word) => {
      const end = word.lastIndexOf('@');
      const start = word.indexOf('://');
      return start < 0 || start > end ? word : `${word.slice(0, start)}://***${word.slice(end)}`;
    })
    .join('');
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/**
 * Returns a copy of the text that refers to no other text. V8 keeps a substring of 13 or more characters as a
 * reference to the whole text, and a concatenation as a tree of its parts.
 */
export function ownText(text: string): string {
  if (text.length < 13) return text;
  const units: number[] = [];
  for (let i = 0; i < text.length; i++) units.push(text.charCodeAt(i));
  return String.fromCharCode(...units);
}
