/**
 * A copy that takes no more memory than its elements. An array that was made by push, filter or
 * flatMap has room for more than a dozen further ones, which is felt where arrays of one or two
 * are kept by the ten thousand.
 */
export function compact<Element>(elements: readonly Element[]): readonly Element[] {
  return elements.slice();
}
