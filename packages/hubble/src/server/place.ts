/** A unix socket, or a host and a port. */
export type Place = { readonly unix: string } | { readonly host: string; readonly port: number };

/**
 * Reads `unix:///PATH`, `HOST:PORT`, `[HOST]:PORT` or `:PORT`, which means all addresses. Returns undefined for
 * other text.
 */
export function parsePlace(text: string): Place | undefined {
  const unix = /^unix:(?:\/\/)?(\/.+)$/.exec(text);
  if (unix) return { unix: unix[1]! };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]/\s]*)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (!match || port > 65535) return undefined;
  return { host: match[1] ?? (match[2] || '::'), port };
}
