import { tcpTests } from '../../testing/sockets/socket-tcp-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// In the userspace machine: what the kernel tests say, without root.
tcpTests((name, pods) => new VmWorld(name, pods));
