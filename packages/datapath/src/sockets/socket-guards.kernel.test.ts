import { guardTests } from '../../testing/sockets/socket-guard-tests.ts';
import { World } from '../../testing/world.ts';

guardTests((name, pods) => new World(name, pods));
