// Preload this (`node --import`) to simulate a system other than Linux: no system call succeeds,
// the native library has no functions, and /proc and /sys don't exist.
import fs from 'node:fs';
import { registerHooks, syncBuiltinESMExports } from 'node:module';

Object.defineProperty(process, 'platform', { value: 'darwin' });

registerHooks({
  resolve(specifier, context, next) {
    return specifier === 'koffi'
      ? { url: 'elsewhere:koffi', shortCircuit: true }
      : next(specifier, context);
  },
  load(url, context, next) {
    if (url !== 'elsewhere:koffi') return next(url, context);
    const source = `export default new Proxy({}, {
      get: (_, name) => () => { throw new Error(\`koffi.\${String(name)} must not be used here\`); },
    });`;
    return { format: 'module', source, shortCircuit: true };
  },
});

const files = fs as unknown as Record<string, (...args: unknown[]) => unknown>;
for (const name of ['readFileSync', 'readdirSync', 'readlinkSync', 'statSync', 'openSync']) {
  const original = files[name]!;
  files[name] = (...args) => {
    if (/^\/(proc|sys)(\/|$)/.test(String(args[0]))) {
      const message = `ENOENT: no such file or directory, ${name} '${args[0]}'`;
      throw Object.assign(new Error(message), { code: 'ENOENT', syscall: name });
    }
    return original.apply(fs, args);
  };
}
syncBuiltinESMExports();
