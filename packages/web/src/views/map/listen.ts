type Handlers = {
  readonly [Name in keyof HTMLElementEventMap]?: (event: HTMLElementEventMap[Name]) => void;
};

/**
 * Adds handlers to an element that the keyboard does not reach, and whose content is also elsewhere: links are
 * in the panel, cells have the arrow keys. Returns the function that removes them.
 */
export function listen(element: Element | undefined, handlers: Handlers): () => void {
  const all = Object.entries(handlers) as [string, (event: Event) => void][];
  for (const [name, handle] of all) element?.addEventListener(name, handle);
  return () => {
    for (const [name, handle] of all) element?.removeEventListener(name, handle);
  };
}
