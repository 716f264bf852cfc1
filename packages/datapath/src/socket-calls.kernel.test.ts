import { socketCallTests } from '../testing/socket-call-tests.ts';
import { World } from '../testing/world.ts';

socketCallTests((name, pods) => new World(name, pods));
