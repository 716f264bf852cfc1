import { optionTests } from '../../testing/pairs/run.ts';
import { Stage } from '../../testing/pairs/stage.ts';
import { sizes, World } from '../../testing/world.ts';

optionTests('in the kernel', ['the first'], () => {
  const world = new World('options', 2, {
    lab: { nodes: 2 },
    sizes: { ...sizes, flows: 65_536 },
    xdp: 'generic',
  });
  try {
    const [here, there] = world.lab.nodes;
    const [one, two, three, four] = [...here!.pods, ...there!.pods];
    const front = here!.link('eth0');
    const pod = here!.link(one!.nodeLink);
    const hop = here!.firstHop;
    const options = {
      world,
      places: { 'here-0': one!, 'here-1': two!, 'there-0': three!, 'there-1': four! },
      there: there!.addresses,
      front: { device: front, frame: { src: hop.dst, dst: hop.src } },
      pod: { device: pod, frame: { src: one!.link('eth0').address, dst: pod.address } },
    };
    return {
      stage: new Stage(options),
      options,
      [Symbol.dispose]: () => world[Symbol.dispose](),
    };
  } catch (error) {
    world[Symbol.dispose]();
    throw error;
  }
});
