import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { errno, type Platform, syscallNumbers } from '@heddle/sys';
import { nodePlatform } from '@heddle/sys/node';
import { MemoryDatapath, ScriptedSource } from '../testing/parts.ts';
import { Agent } from './agent.ts';
import { readConfig } from './config.ts';
import { allFeatures } from './features/index.ts';

/** The steps of a start, one of which fails. */
class Steps {
  readonly #failing: number;
  #count = 0;
  /** The step that failed. */
  failed: string | undefined;

  /** `failing`: the number of the step, from 1. */
  constructor(failing: number) {
    this.#failing = failing;
  }

  /** Returns true if this step has to fail. */
  fails(name: string): boolean {
    if (++this.#count !== this.#failing) return false;
    this.failed = name;
    return true;
  }

  /** From now on no step fails. */
  end(): void {
    this.#count = Number.POSITIVE_INFINITY;
  }

  /** Throws if this step has to fail. */
  take(name: string): void {
    if (this.fails(name)) throw new Error(`${name} fails`);
  }

  /** Returns the part; each use of one of its members is a step. */
  within<Part extends object>(name: string, part: Part): Part {
    return new Proxy(part, {
      get: (target, key) => {
        const value = Reflect.get(target, key, target);
        if (typeof key === 'symbol')
          return typeof value === 'function' ? value.bind(target) : value;
        if (typeof value === 'object' && value !== null) {
          return this.within(`${name}.${key}`, value);
        }
        if (typeof value !== 'function') {
          this.take(`${name}.${key}`);
          return value;
        }
        return (...given: unknown[]) => {
          this.take(`${name}.${key}()`);
          return Reflect.apply(value, target, given);
        };
      },
    });
  }
}

/** Returns a platform where each system call, watch, timer and log line is a step; `open` has the open ones. */
function steppedPlatform(steps: Steps): { platform: Platform; open: Set<string> } {
  const base = nodePlatform(() => {});
  const numbers = syscallNumbers(base);
  // Neither of these can fail in a way that matters: they release, or read a number.
  const safe = new Set<number>([numbers.close, numbers.munmap, numbers.getpid, numbers.uname]);
  const open = new Set<string>();
  let opened = 0;
  const tracked = (name: string, make: () => Disposable): Disposable => {
    steps.take(name);
    const made = make();
    const id = `${name} ${++opened}`;
    open.add(id);
    return {
      [Symbol.dispose]() {
        open.delete(id);
        made[Symbol.dispose]();
      },
    };
  };
  const platform: Platform = {
    ...base,
    syscall: (number, ...given) =>
      !safe.has(number) && steps.fails(`system call ${number}`)
        ? -errno.ENOMEM
        : base.syscall(number, ...given),
    onReadable: (fd, ready) => tracked('watch', () => base.onReadable(fd, ready)),
    setTimer: (milliseconds, fire) => tracked('timer', () => base.setTimer(milliseconds, fire)),
    log: (_level, message) => steps.take(`log line "${message}"`),
  };
  return { platform, open };
}

describe('Agent constructor', { timeout: 60_000 }, () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'heddle-start-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('releases everything when the start fails at any step, the last one included', () => {
    const descriptors = () => readdirSync('/proc/self/fd').length;
    const socket = join(folder, 'agent.sock');
    const config = readConfig(undefined, { manifests: folder, socket });
    const failed: string[] = [];
    for (let failing = 1; ; failing++) {
      const steps = new Steps(failing);
      const { platform, open } = steppedPlatform(steps);
      const held: string[] = [];
      const hold = <Part extends Disposable>(name: string, part: Part): Part => {
        held.push(name);
        const release = part[Symbol.dispose].bind(part);
        part[Symbol.dispose] = () => {
          held.splice(held.indexOf(name), 1);
          release();
        };
        return part;
      };
      const before = descriptors();
      let agent: Agent | undefined;
      try {
        agent = new Agent({
          platform,
          config: {
            ...config,
            ...{ node: 'n1', cgroup: '/', devices: 'auto' },
            ...{ healthAddress: '127.0.0.1:0', metricsAddress: '127.0.0.1:0' },
          },
          version: '1',
          features: allFeatures,
          takePins: () => {
            steps.take('takePins');
            return hold('pins', { keep() {}, [Symbol.dispose]() {} });
          },
          openDatapath: () => {
            steps.take('openDatapath');
            return steps.within('datapath', hold('datapath', new MemoryDatapath()));
          },
          openSource: (listener) => {
            steps.take('openSource');
            return steps.within('source', hold('source', new ScriptedSource(listener)));
          },
        });
      } catch (error) {
        assert.ok(steps.failed, String(error));
        failed.push(steps.failed);
      }
      const isOver = steps.failed === undefined;
      steps.end();
      agent?.[Symbol.dispose]();
      const left = { open: [...open], held, descriptors: descriptors() - before };
      assert.deepEqual(left, { open: [], held: [], descriptors: 0 }, `after ${steps.failed}`);
      assert.equal(existsSync(socket), false, `after ${steps.failed}`);
      if (isOver) break;
    }
    for (const step of ['takePins', 'openDatapath', 'openSource', 'log line "agent started"']) {
      assert.ok(failed.includes(step), `${step} among ${failed.join(', ')}`);
    }
  });
});
