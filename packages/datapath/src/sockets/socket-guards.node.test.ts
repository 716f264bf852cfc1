import { guardTests } from '../../testing/socket-guard-tests.ts';
import { VmWorld } from '../../testing/vm-world.ts';

guardTests((name, pods) => new VmWorld(name, pods));
