import { readFileSync } from 'node:fs';

/** One line of /proc/self/mountinfo (proc(5)). */
export interface Mount {
  /** Which part of the file system is mounted. */
  readonly root: string;
  readonly path: string;
  readonly type: string;
}

/** Mounts that this process sees, in the order in which they were made. */
export function listMounts(): Mount[] {
  return readMountinfo(readFileSync('/proc/self/mountinfo', 'utf8'));
}

/** Reads the text of a mountinfo file. */
export function readMountinfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n')) {
    if (line === '') continue;
    // Optional fields of any number end at a lone dash.
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

/** The kernel writes blanks and backslashes in paths as three octal digits. */
function decodePath(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
