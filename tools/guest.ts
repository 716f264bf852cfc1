// Runs a command of this repository as root under another kernel, in a QEMU guest with this
// machine's files mounted read-only. An emulated guest is some 60 times slower, so use it for
// functional tests only.
//
//   apt-get install qemu-system-x86
//   apt-get download linux-image-6.1.0-56-cloud-amd64 busybox-static   (also from a newer release)
//   for package in *.deb; do dpkg-deb -x $package KERNEL; done
//   node tools/guest.ts KERNEL node --test packages/ebpf/src/map.kernel.test.ts
//
// It needs root and is not part of `npm test`. It exits with the command's exit code, or with 2 if the
// guest fails. /tmp and /run are empty there; a test that asserts durations fails.
import { spawn } from 'node:child_process';
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { root } from './files.ts';

const [kernel, ...command] = process.argv.slice(2);
if (!kernel || command.length === 0) {
  console.error('usage: node tools/guest.ts FOLDER_OF_UNPACKED_KERNEL COMMAND [ARGUMENT...]');
  process.exit(2);
}

/** The modules that the shared root and the tests need, each after its dependencies. */
const modules = [
  ...['virtio_ring', 'virtio', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'],
  ...['fuse', 'virtiofs', 'llc', 'stp', 'bridge', 'veth', 'inet_diag', 'tcp_diag', 'udp_diag'],
  ...['sch_ingress', 'sch_tbf', 'cls_bpf'],
];

/** Returns the only file with such a name in the unpacked kernel, or undefined. */
const find = (pattern: string): string | undefined =>
  globSync(`**/${pattern}`, { cwd: kernel }).map((file) => join(kernel, file))[0];

const need = (pattern: string): string => {
  const found = find(pattern);
  if (found === undefined) {
    console.error(`guest: there is no ${pattern} below ${kernel}; unpack the packages into it`);
    process.exit(2);
  }
  return found;
};

const image = need('vmlinuz-*');
const busybox = need('bin/busybox');
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;

/** The line that reports the command's exit code. */
const verdict = 'guest: exit ';

const init = `#!/bin/busybox sh
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

const directory = 0o40755;
const program = 0o100755;
const folder = mkdtempSync(join(tmpdir(), 'heddle-guest-'));
const [socket, initramfs] = [join(folder, 'virtiofs'), join(folder, 'initramfs')];
writeFileSync(
  initramfs,
  archive([
    ...['bin', 'root', 'modules', 'dev'].map((path) => [path, directory] as const),
    ['init', program, Buffer.from(init)],
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
while (!existsSync(socket)) {
  if (files.exitCode !== null) {
    console.error('guest: virtiofsd does not start; run as root');
    process.exit(2);
  }
  await setTimeout(20);
}
const machine = spawn(
  'qemu-system-x86_64',
  [
    ...'-accel tcg -cpu max,-cx16 -smp 1 -nic none -display none -serial stdio'.split(' '),
    ...'-m 2G -object memory-backend-memfd,id=memory,size=2G,share=on'.split(' '),
    ...'-numa node,memdev=memory -device vhost-user-fs-pci,chardev=files,tag=root'.split(' '),
    ...['-chardev', `socket,id=files,path=${socket}`, '-kernel', image, '-initrd', initramfs],
    ...['-no-reboot', '-append', 'console=ttyS0 loglevel=3 panic=-1 mitigations=off'],
  ],
  { stdio: ['ignore', 'pipe', 'inherit'] },
);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => machine.kill());
process.exitCode = 2;
for await (const line of createInterface(machine.stdout)) {
  if (line.startsWith(verdict)) process.exitCode = Number(line.slice(verdict.length));
  else console.log(line);
}
files.kill();
rmSync(folder, { recursive: true });
