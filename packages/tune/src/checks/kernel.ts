import type { Check, Result } from '../check.ts';
import { type KernelFacts, valueIfKnown } from '../facts.ts';

/** The features of newer kernels, with their effect. */
const newer: readonly { since: string; feature: string; option?: string }[] = [
  { since: '6.3', feature: 'BIG TCP for IPv4 (1 MB between pods takes 0.65 of the time)' },
  { since: '6.6', feature: 'tcx (0.012 of the time of a connection less)' },
  { since: '6.7', feature: 'source addresses by route lookup (FIB_LOOKUP_SRC)' },
  { since: '6.8', feature: 'netkit', option: 'NETKIT' },
];

/** Returns true if a release like `6.12.48-amd64` is at least `version`. */
export function isAtLeast(release: string, version: string): boolean {
  const numbers = (text: string) => (/^(\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  const [major = 0, minor = 0] = numbers(release);
  const [wantedMajor = 0, wantedMinor = 0] = numbers(version);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

export const kernelVersion: Check = {
  name: 'kernel-version',
  about: 'the version of Linux and options that Heddle can use',
  advice: 'Linux 6.12 or newer with CONFIG_NETKIT, CONFIG_NET_SCH_FQ and CONFIG_TCP_CONG_BBR',
  reason: 'Heddle runs on 6.1; newer kernels have what is listed',
  risk: 'that of any new kernel',
  applies: 'no',
  examine({ kernel }) {
    if ('unknown' in kernel) return [{ state: 'unknown', found: kernel.unknown }];
    const { release, config } = kernel.value;
    const options = valueIfKnown(config);
    const lacking = newer
      .filter(({ since, option }) => {
        const isOff = option !== undefined && options !== undefined && !options.has(option);
        return !isAtLeast(release, since) || isOff;
      })
      .map(({ since, feature, option }) => {
        const needs = option === undefined ? `Linux ${since}` : `Linux ${since}, CONFIG_${option}`;
        return `${feature} (${needs})`;
      });
    if (lacking.length === 0) return [{ state: 'good', found: release }];
    const found = `${release} lacks ${lacking.join(', ')}`;
    const isOld = !isAtLeast(release, '6.1');
    return [
      {
        state: isOld ? 'wrong' : 'improve',
        found,
        recommended: isOld ? 'Linux 6.1 at least' : 'a newer kernel, if you need what it lacks',
      },
    ];
  },
};

const debugFile = '/sys/kernel/debug/sched/preempt';
const models = ['none', 'voluntary', 'lazy', 'full'] as const;

/** Returns the preemption model that the kernel starts with, or undefined if that is unknown. */
function initialModel({ config, preemptOption }: KernelFacts): string | undefined {
  if (preemptOption !== undefined) return preemptOption;
  const options = valueIfKnown(config);
  if (!options) return undefined;
  if (options.has('PREEMPT_RT')) return 'rt';
  const names = { none: 'PREEMPT_NONE', voluntary: 'PREEMPT_VOLUNTARY', lazy: 'PREEMPT_LAZY' };
  for (const [model, option] of Object.entries(names)) if (options.has(option)) return model;
  return options.has('PREEMPT') ? 'full' : undefined;
}

function judgeModel(model: string, offered: readonly string[]): Result {
  if (model !== 'full' && model !== 'rt') return { state: 'good', found: model };
  const better = models.find((each) => offered.includes(each) && each !== 'full');
  if (better === undefined) {
    const recommended = 'a kernel with CONFIG_PREEMPT_NONE or CONFIG_PREEMPT_LAZY';
    return { state: 'improve', found: model, recommended };
  }
  const target = { kind: 'file', path: debugFile } as const;
  const changes = [{ target, value: better }];
  return { state: 'improve', found: model, recommended: better, changes };
}

export const preemption: Check = {
  name: 'preemption',
  about: 'the preemption model of the kernel',
  advice: 'none, voluntary or lazy on a server',
  reason:
    'with full preemption the kernel switches between tasks while it handles packets; the effect depends on the load and was not measured',
  risk: 'tasks that need low latency, e.g. audio, wait longer',
  applies: 'in part',
  examine({ kernel }) {
    if ('unknown' in kernel) return [{ state: 'unknown', found: kernel.unknown }];
    const { preemptModes, config } = kernel.value;
    const modes = valueIfKnown(preemptModes);
    const active = modes === undefined ? undefined : /\((\w+)\)/.exec(modes)?.[1];
    if (modes !== undefined && active !== undefined) {
      return [judgeModel(active, modes.replace(/[()]/g, '').split(/\s+/))];
    }
    const initial = initialModel(kernel.value);
    const isFixed = valueIfKnown(config)?.has('PREEMPT_DYNAMIC') === false;
    if (isFixed && initial !== undefined) return [judgeModel(initial, [])];
    const why = 'unknown' in preemptModes ? preemptModes.unknown : `${debugFile} has another form`;
    const start = initial === undefined ? '' : `; the kernel starts with ${initial}`;
    return [{ state: 'unknown', found: `${why}${start}` }];
  },
};
