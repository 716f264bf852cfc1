import { guardTests } from '../../testing/socket-guard-tests.ts';
import { World } from '../../testing/world.ts';

guardTests((name, pods) => new World(name, pods));
