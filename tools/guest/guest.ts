// A QEMU guest that runs a command of this repository as root under another kernel, with this machine's
// files mounted read-only. /tmp and /run are empty there.
import { spawn } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { root } from '../files.ts';

/** The modules that the shared root and the tests need, each after its dependencies. */
const modules = [
  ...['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'],
  ...['fuse', 'virtiofs', 'llc', 'stp', 'bridge', 'veth', 'inet_diag', 'tcp_diag', 'udp_diag'],
  ...['udp_tunnel', 'ip6_udp_tunnel', 'vxlan', 'tcp_bbr', 'sch_fq', 'sch_ingress', 'sch_tbf'],
  ...['cls_bpf', 'libcrc32c', 'sctp', 'nfnetlink', 'nf_defrag_ipv4', 'nf_defrag_ipv6'],
  ...['nf_conntrack', 'nf_nat', 'nf_tables', 'nft_ct', 'nft_chain_nat', 'nft_masq'],
];

/** The guest can't be started; the message says what to do. */
export class GuestError extends Error {
  override readonly name = 'GuestError';
}

export interface GuestOptions {
  /** The folder with an unpacked kernel and busybox. */
  readonly kernel: string;
  readonly command: readonly string[];
  readonly onLine: (line: string) => void;
}

/** The line that reports the command's exit code. */
const verdict = 'guest: exit ';

const directory = 0o40755;
const program = 0o100755;

const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** Runs a command in a guest and returns its exit code; undefined if the guest ended without one. Throws GuestError. */
export async function runInGuest({
  kernel,
  command,
  onLine,
}: GuestOptions): Promise<number | undefined> {
  const find = (pattern: string) =>
    globSync(`**/${pattern}`, { cwd: kernel }).map((file) => join(kernel, file))[0];
  const need = (pattern: string): string => {
    const found = find(pattern);
    if (found !== undefined) return found;
    throw new GuestError(`there is no ${pattern} below ${kernel}; unpack the packages into it`);
  };
  const [image, busybox] = [need('vmlinuz*'), need('bin/busybox')];
  const folder = mkdtempSync(join(tmpdir(), 'heddle-guest-'));
  const [socket, initramfs] = [join(folder, 'virtiofs'), join(folder, 'initramfs')];
  writeFileSync(
    initramfs,
    archive([
      ...['bin', 'root', 'modules', 'dev'].map((path) => [path, directory] as const),
      ['init', program, Buffer.from(initOf(command))],
      ['bin/busybox', program, readFileSync(busybox)],
      ...modules.flatMap((name) => {
        const file = find(`${name}.ko*`);
        return file
          ? [[`modules/${file.split('/').at(-1)}`, program, readFileSync(file)] as const]
          : [];
      }),
    ]),
  );
  const files = spawn(
    '/usr/lib/qemu/virtiofsd',
    [`--socket-path=${socket}`, '-o', 'source=/,cache=auto,sandbox=chroot'],
    // It prints an error each time QEMU ends.
    { stdio: 'ignore' },
  );
  try {
    while (!existsSync(socket)) {
      if (files.exitCode !== null) throw new GuestError('virtiofsd does not start; run as root');
      await setTimeout(20);
    }
    return await runMachine(image, initramfs, socket, onLine);
  } finally {
    files.kill();
    rmSync(folder, { recursive: true });
  }
}

async function runMachine(
  image: string,
  initramfs: string,
  socket: string,
  onLine: (line: string) => void,
): Promise<number | undefined> {
  const machine = spawn(
    'qemu-system-x86_64',
    [
      ...'-accel tcg -cpu max -smp 1 -nic none -display none -serial stdio'.split(' '),
      ...'-m 2G -object memory-backend-memfd,id=memory,size=2G,share=on'.split(' '),
      ...'-numa node,memdev=memory -device vhost-user-fs-pci,chardev=files,tag=root'.split(' '),
      ...['-chardev', `socket,id=files,path=${socket}`, '-kernel', image, '-initrd', initramfs],
      ...['-no-reboot', '-append', 'console=ttyS0 loglevel=3 panic=-1 mitigations=off'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  let isEnded = false;
  const end = () => {
    isEnded = true;
    machine.kill();
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, end);
  try {
    let exitCode: number | undefined;
    for await (const line of createInterface(machine.stdout)) {
      if (line.startsWith(verdict)) exitCode = Number(line.slice(verdict.length));
      else onLine(line);
    }
    // The next guest of a matrix must not start.
    if (isEnded) throw new GuestError('it was ended by a signal');
    return exitCode;
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}

function initOf(command: readonly string[]): string {
  return `#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install /bin
for module in ${modules.join(' ')}; do
  for file in /modules/$module.ko*; do [ ! -e $file ] || insmod $file; done
done
mount -t virtiofs -o ro root /root || exec reboot -f
for kind in proc:proc sysfs:sys devtmpfs:dev tmpfs:tmp tmpfs:run cgroup2:sys/fs/cgroup; do
  mount -t \${kind%%:*} none /root/\${kind##*:}
done
ip link set lo up
cd /root
chroot /root /bin/sh -c ${quoted(
    `cd ${quoted(root)}; export PATH=${quoted(`${root}node_modules/.bin:${process.env.PATH}`)}; exec ${command.map(quoted).join(' ')}`,
  )} < dev/null
echo "${verdict}$?"
reboot -f
`;
}

/**
 * Returns an archive in the "new ASCII" format of cpio(5), which is the kernel's initramfs format.
 */
function archive(entries: readonly (readonly [path: string, mode: number, bytes?: Uint8Array])[]) {
  const padded = (bytes: Uint8Array) => Buffer.concat([bytes], Math.ceil(bytes.length / 4) * 4);
  return Buffer.concat(
    [...entries, ['TRAILER!!!', 0] as const].flatMap(
      ([path, mode, bytes = new Uint8Array()], i) => {
        const fields = [i, mode, 0, 0, 1, 0, bytes.length, 0, 0, 0, 0, path.length + 1, 0];
        const numbers = fields.map((field) => field.toString(16).padStart(8, '0')).join('');
        return [padded(Buffer.from(`070701${numbers}${path}\0`)), padded(bytes)];
      },
    ),
  );
}
