import { rangeTests } from '../../testing/sockets/socket-range-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

// Runs the tests of the kernel in the userspace machine, without root.
rangeTests((name, pods) => new VmWorld(name, pods));
