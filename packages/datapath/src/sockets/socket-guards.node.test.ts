import { guardTests } from '../../testing/sockets/socket-guard-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

guardTests((name, pods) => new VmWorld(name, pods));
