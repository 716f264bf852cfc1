import { tcpTests } from '../../testing/sockets/socket-tcp-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// Runs the tests of the kernel in the userspace machine, without root.
tcpTests((name, pods) => new VmWorld(name, pods));
