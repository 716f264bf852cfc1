// Runs commands of this repository as root under other kernels, in QEMU guests. An emulated guest is some
// 60 times slower than this machine, so it is for functional tests only; a test that asserts durations
// fails.
//
//   apt-get install qemu-system-x86
//   apt-get download linux-image-6.1.0-57-cloud-amd64 busybox-static   (also from a newer release)
//   for package in *.deb; do dpkg-deb -x $package KERNELS/6.1; done
//   node tools/guest.ts KERNELS/6.1 node --test packages/ebpf/src/map.kernel.test.ts
//   node tools/guest.ts matrix KERNELS [TEST FILE...]
//
// The second form runs test files under each kernel below a folder and under this machine's, and prints a
// table of what ran where. Neither is part of `npm test`. The exit code is the command's, or 1 if a test of
// the matrix fails, or 2 if a guest does.
import { GuestError, runInGuest } from './guest/guest.ts';
import { runMatrix } from './guest/matrix.ts';

const [kernel, ...command] = process.argv.slice(2);
const usage = `usage: node tools/guest.ts FOLDER_OF_UNPACKED_KERNEL COMMAND [ARGUMENT...]
       node tools/guest.ts matrix FOLDER_OF_KERNEL_FOLDERS [TEST FILE...]`;

try {
  if (kernel === undefined || command.length === 0) throw new GuestError(usage);
  const [folder, ...tests] = command;
  process.exitCode =
    kernel === 'matrix'
      ? await runMatrix(folder!, tests)
      : ((await runInGuest({ kernel, command, onLine: (line) => console.log(line) })) ?? 2);
} catch (error) {
  if (!(error instanceof GuestError)) throw error;
  console.error(error.message === usage ? usage : `guest: ${error.message}`);
  process.exitCode = 2;
}
