/** Returns true if a pattern, in which `*` matches anything, selects a network interface. */
export function deviceMatches(pattern: string, device: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[^\w-]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(device);
}
