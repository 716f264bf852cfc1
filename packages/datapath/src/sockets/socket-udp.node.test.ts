import { udpTests } from '../../testing/sockets/socket-udp-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// Runs the tests of the kernel in the userspace machine, without root.
udpTests((name, pods) => new VmWorld(name, pods));
