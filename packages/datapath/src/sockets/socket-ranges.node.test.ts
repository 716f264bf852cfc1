import { rangeTests } from '../../testing/sockets/socket-range-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// In the userspace machine: what the kernel tests say, without root.
rangeTests((name, pods) => new VmWorld(name, pods));
