import { gunzipSync } from 'node:zlib';
import {
  type DirectoryEntry,
  decodeUtf8,
  isMissing,
  type Platform,
  readDirectory,
  readFile,
  readLink,
} from '@heddle/sys';
import type { KernelFacts, Known, ProcessorFacts, ProgramFacts } from '../facts.ts';
import { isSysError, known, readNumberList, readText, readTextIfAny } from './files.ts';

/** Returns the version and configuration of the kernel. Throws SysError. */
export function readKernel(platform: Platform): KernelFacts {
  const release = readText(platform, '/proc/sys/kernel/osrelease');
  const option = /(?:^|\s)preempt=(\w+)/.exec(readTextIfAny(platform, '/proc/cmdline') ?? '')?.[1];
  return {
    release,
    config: known(() => parseConfig(readConfig(platform, release))),
    ...(option === undefined ? {} : { preemptOption: option }),
    preemptModes: known(() => readText(platform, '/sys/kernel/debug/sched/preempt')),
  };
}

function readConfig(platform: Platform, release: string): string {
  for (const path of [`/boot/config-${release}`, `/lib/modules/${release}/config`]) {
    const text = readTextIfAny(platform, path);
    if (text !== undefined) return text;
  }
  return decodeUtf8(gunzipSync(readFile(platform, '/proc/config.gz')));
}

/** Returns the options of a kernel's configuration that are `y`, `m` or have a value. */
export function parseConfig(text: string): Map<string, string> {
  const found = text.matchAll(/^CONFIG_(\w+)=(.*)$/gm);
  return new Map(Array.from(found, ([, name, value]) => [name!, value!]));
}

/** Returns the number and the governors of the CPUs. `sys`: where sysfs is mounted. Throws SysError. */
export function readProcessors(platform: Platform, sys = '/sys'): ProcessorFacts {
  const folder = `${sys}/devices/system/cpu`;
  const online = readNumberList(readText(platform, `${folder}/online`));
  const canPerform = new Set<number>();
  const governors = known(() => {
    const names = new Map<number, string>();
    for (const cpu of online) {
      const frequency = `${folder}/cpu${cpu}/cpufreq`;
      const name = readTextIfAny(platform, `${frequency}/scaling_governor`);
      if (name === undefined) continue;
      names.set(cpu, name);
      const offered = readTextIfAny(platform, `${frequency}/scaling_available_governors`) ?? '';
      if (offered.split(/\s+/).includes('performance')) canPerform.add(cpu);
    }
    return names;
  });
  return { count: online.length, governors, canPerform };
}

/** The inode of the first PID namespace (linux/proc_ns.h). */
const firstPidNamespace = 'pid:[4026531836]';
const otherView = 'the processes and files of the node are not visible in this container';

/** Returns what other programs of the node do. */
export function readPrograms(platform: Platform): ProgramFacts {
  const isNode = known(() => readLink(platform, '/proc/self/ns/pid') === firstPidNamespace);
  if (!('value' in isNode && isNode.value)) {
    const unknown = { unknown: otherView };
    return { irqbalance: unknown, tunedProfile: unknown };
  }
  return {
    irqbalance: known(() => runs(platform, 'irqbalance')),
    tunedProfile: readTuned(platform),
  };
}

function readTuned(platform: Platform): Known<string | undefined> {
  return known(() => readTextIfAny(platform, '/etc/tuned/active_profile') || undefined);
}

function runs(platform: Platform, program: string): boolean {
  const isProcess = ({ name }: DirectoryEntry) => /^\d+$/.test(name);
  return readDirectory(platform, '/proc')
    .filter(isProcess)
    .some(({ name }) => {
      try {
        return readText(platform, `/proc/${name}/comm`) === program;
      } catch (error) {
        // The process has ended meanwhile.
        if (isMissing(error) || isSysError(error, 'ESRCH')) return false;
        throw error;
      }
    });
}
