import {
  errno,
  type FileStatus,
  fdStatus,
  fileStatus,
  openFile,
  type Platform,
  readToEnd,
  SysError,
} from '@heddle/sys';

/** A file has the name of a manifest and cannot be one. */
export class ManifestFileError extends Error {
  override readonly name = 'ManifestFileError';
}

/** The largest manifest: some ten thousand services with their endpoints. */
export const maxManifestBytes = 16 << 20;
const O_NONBLOCK = 0o4000;

/**
 * Returns the content of a manifest. Throws SysError, and ManifestFileError for a file that is not regular or too
 * large, so that nothing in the folder can stop the agent or fill its memory.
 */
export function readManifest(platform: Platform, path: string): Uint8Array {
  // Precedes the open, because opening a device or a FIFO can have effects.
  const status = fileStatus(platform, path);
  if (status.kind === 'device' && isNull(platform, status)) return new Uint8Array(0);
  check(path, status);
  using file = openFile(platform, path, O_NONBLOCK);
  try {
    check(path, fdStatus(platform, file.fd));
    return readToEnd(platform, file.fd, `read ${path}`, maxManifestBytes);
  } catch (error) {
    // The file has grown since, or it is a file of the kernel, whose size is unknown before.
    if (error instanceof SysError && error.errno === errno.EFBIG) throw tooLarge(path);
    throw error;
  }
}

/** Returns true for /dev/null: a link to it masks a file, as with units of systemd. */
function isNull(platform: Platform, { identity }: FileStatus): boolean {
  try {
    return fileStatus(platform, '/dev/null').identity === identity;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return false;
  }
}

function check(path: string, { kind, size }: FileStatus): void {
  if (kind === 'folder') throw new SysError('read', errno.EISDIR, `read ${path}`);
  if (kind !== 'file') {
    throw new ManifestFileError(
      `read ${path}: it is a ${kind} and not a regular file (remove it, or give it a name that does not end in .yaml, .yml or .json)`,
    );
  }
  if (size > maxManifestBytes) throw tooLarge(path);
}

function tooLarge(path: string): ManifestFileError {
  return new ManifestFileError(
    `read ${path}: it is larger than ${maxManifestBytes >> 20} MiB (divide it into several files)`,
  );
}

/** Returns true if a name is a symbolic link, or one of several hard links to a file. */
export function isLink(platform: Platform, path: string): boolean {
  try {
    const { kind, links } = fileStatus(platform, path, false);
    return kind === 'link' || links > 1;
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    return false;
  }
}
