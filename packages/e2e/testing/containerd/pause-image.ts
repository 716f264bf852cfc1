import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';

/** The name of the image that every sandbox runs. */
export const pauseImage = 'heddle.test/pause:1';

/** The instructions of a program that waits for ever. */
const instructions = {
  // pause() in a loop: mov eax, 34; syscall; jmp to the first.
  x64: [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7],
  // ppoll(NULL, 0, NULL, NULL, 0) in a loop: mov x0 to x4, 0; mov x8, 73; svc 0; b to the first.
  arm64: [
    ...[0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x80, 0xd2, 0x02, 0x00, 0x80, 0xd2],
    ...[0x03, 0x00, 0x80, 0xd2, 0x04, 0x00, 0x80, 0xd2, 0x28, 0x09, 0x80, 0xd2],
    ...[0x01, 0x00, 0x00, 0xd4, 0xf9, 0xff, 0xff, 0x17],
  ],
} as const;

/** Returns a static executable of the instructions. */
function executable(arch: keyof typeof instructions): Buffer {
  const code = instructions[arch];
  const headers = 64 + 56;
  const base = 0x400000n;
  const size = BigInt(headers + code.length);
  const elf = Buffer.alloc(headers + code.length);
  elf.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  elf.writeUInt16LE(2, 16); // ET_EXEC
  elf.writeUInt16LE({ x64: 62, arm64: 183 }[arch], 18);
  elf.writeUInt32LE(1, 20);
  elf.writeBigUInt64LE(base + BigInt(headers), 24);
  elf.writeBigUInt64LE(64n, 32); // the program header's offset
  elf.writeUInt16LE(64, 52);
  elf.writeUInt16LE(56, 54);
  elf.writeUInt16LE(1, 56);
  elf.writeUInt32LE(1, 64); // PT_LOAD
  elf.writeUInt32LE(5, 68); // readable and executable
  elf.writeBigUInt64LE(base, 80);
  elf.writeBigUInt64LE(base, 88);
  elf.writeBigUInt64LE(size, 96);
  elf.writeBigUInt64LE(size, 104);
  elf.writeBigUInt64LE(0x1000n, 112);
  elf.set(code, headers);
  return elf;
}

/**
 * Writes an archive of the image in the layout of OCI, for `ctr images import`: one layer with one static program.
 * `folder` is for its parts.
 */
export function writePauseImage(folder: string, archive: string): void {
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const blobs = `${folder}/image/blobs/sha256`;
  mkdirSync(blobs, { recursive: true });
  mkdirSync(`${folder}/layer`);
  writeFileSync(`${folder}/layer/pause`, executable(arch), { mode: 0o755 });
  execFileSync('tar', ['-C', `${folder}/layer`, '-cf', `${folder}/layer.tar`, 'pause']);
  const add = (mediaType: string, content: string | Buffer) => {
    const bytes = Buffer.from(content);
    const hash = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(`${blobs}/${hash}`, bytes);
    return { mediaType, digest: `sha256:${hash}`, size: bytes.length };
  };
  const types = 'application/vnd.oci.image';
  const layer = add(`${types}.layer.v1.tar`, readFileSync(`${folder}/layer.tar`));
  const config = add(
    `${types}.config.v1+json`,
    JSON.stringify({
      ...{ architecture: arch === 'x64' ? 'amd64' : arch, os: 'linux' },
      config: { Entrypoint: ['/pause'] },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }),
  );
  const manifest = add(
    `${types}.manifest.v1+json`,
    JSON.stringify({ schemaVersion: 2, config, layers: [layer] }),
  );
  const annotations = { 'io.containerd.image.name': pauseImage };
  const index = { schemaVersion: 2, manifests: [{ ...manifest, annotations }] };
  writeFileSync(`${folder}/image/index.json`, JSON.stringify(index));
  writeFileSync(`${folder}/image/oci-layout`, JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  execFileSync('tar', ['-C', `${folder}/image`, '-cf', archive, '.']);
}
