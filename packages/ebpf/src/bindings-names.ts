/** Returns `serviceKey` for `service_key` and `SERVICE_KEY`, without underscores at the start. */
export function camelCase(name: string): string {
  const words = name.split('_').filter((word) => word !== '');
  return words
    .map((word, i) => {
      const plain = word === word.toUpperCase() ? word.toLowerCase() : word;
      return i === 0 ? plain[0]!.toLowerCase() + plain.slice(1) : capitalized(plain);
    })
    .join('');
}

/** Returns `ServiceKey` for `service_key`. */
export function pascalCase(name: string): string {
  return capitalized(camelCase(name));
}

function capitalized(word: string): string {
  return word.slice(0, 1).toUpperCase() + word.slice(1);
}

/** Returns the names of enumerators in camelCase, without the words that all of them start with. */
export function enumeratorNames(names: readonly string[]): string[] {
  const split = names.map((name) => name.split('_'));
  let common = 0;
  while (
    names.length > 1 &&
    split.every(
      (words) =>
        words[common] === split[0]![common] &&
        // The rest must be a name.
        /^[A-Za-z]/.test(words[common + 1] ?? ''),
    )
  ) {
    common++;
  }
  return split.map((words) => camelCase(words.slice(common).join('_')));
}
