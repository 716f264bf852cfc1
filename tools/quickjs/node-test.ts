// The functions of node:test that the pure tests use, for QuickJS. It collects the tests for the
// host to run.
type Body = (context: { name: string }) => void | Promise<void>;

export const collected: { name: string; body: Body }[] = [];
let prefix = '';

export function test(name: string, optionsOrBody: unknown, body?: Body): void {
  const run = (typeof optionsOrBody === 'function' ? optionsOrBody : body) as Body;
  collected.push({ name: prefix + name, body: run });
}

export function describe(name: string, body: () => void): void {
  const outer = prefix;
  prefix = `${outer}${name} > `;
  body();
  prefix = outer;
}

export const it = test;
export const suite = describe;
export default test;
