import { readFileSync } from 'node:fs';

/** One line of /proc/self/mountinfo (proc(5)). */
export interface Mount {
  /** The folder of the file system that is mounted. */
  readonly root: string;
  readonly path: string;
  readonly type: string;
}

/** Returns the mounts that this process sees, in the order of their creation. */
export function listMounts(): Mount[] {
  return readMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Reads the text of a mountinfo file. */
export function readMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    // A field that is a dash ends the optional fields, of which there may be any number.
    const [before, after] = line.split(' - ');
    const fields = before!.split(' ');
    mounts.push({
      root: decodePath(fields[3]!),
      path: decodePath(fields[4]!),
      type: after!.split(' ')[0]!,
    });
  }
  return mounts;
}

/** Returns the path for a field, in which the kernel writes blanks and backslashes as three octal digits. */
function decodePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
