/** A word of the filter's text, for its chip. */
export interface FilterWord {
  readonly text: string;
  readonly isExcluded: boolean;
  /** Empty for a word that looks in names. */
  readonly key: string;
  readonly value: string;
}

/** Splits a filter into its words; blanks within quotes or brackets belong to the word. */
export function splitWords(filter: string): FilterWord[] {
  const found = filter.match(/(?:"[^"]*"?|\([^)]*\)?|[^\s"(])+/g) ?? [];
  return found.map((text) => {
    const [, minus, key = '', value] = /^(-?)(?:([a-z-]+):)?(.*)$/s.exec(text)!;
    return { text, isExcluded: minus === '-', key, value: value!.replaceAll('"', '') };
  });
}

/** Returns the filter without its word at an index. */
export function removeWord(filter: string, index: number): string {
  return splitWords(filter)
    .filter((_, place) => place !== index)
    .map(({ text }) => text)
    .join(' ');
}

/** Returns the filter with one more word; one that it has already is not added again. */
export function addWord(filter: string, word: string): string {
  const texts = splitWords(filter).map(({ text }) => text);
  return texts.includes(word) ? texts.join(' ') : [...texts, word].join(' ');
}

/** Returns a word for a key and a value, with quotes where the value needs them. */
export function wordOf(key: string, value: string): string {
  const quoted = /[\s"()]/.test(value) ? `"${value.replaceAll('"', '')}"` : value;
  return `${key}:${quoted}`;
}
