import type { Methods } from '../feature.ts';
import { ControlError } from './protocol.ts';
import type { Handler } from './server.ts';

/** Answers requests of the control protocol by `methods`, which may be given later. */
export function controlHandler(methods: () => Methods): Handler {
  return ({ method, params }, follow) => {
    const all = methods();
    const answer = Object.hasOwn(all, method) ? all[method] : undefined;
    if (answer) return answer(params, follow);
    throw new ControlError(
      'unknown-method',
      `read request: no method is called ${JSON.stringify(method)} (there are ${Object.keys(all).join(', ')})`,
    );
  };
}
