/** Whether a device is meant by a name, in which `*` stands for anything. */
export function deviceMatches(pattern: string, device: string): boolean {
  const parts = pattern.split('*').map((part) => part.replace(/[^\w-]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(device);
}
