/** Returns true for the file name of a manifest; temporary and backup files of editors are none. */
export function isManifestName(name: string): boolean {
  return /^[^.#~].*\.(ya?ml|json)$/i.test(name);
}
