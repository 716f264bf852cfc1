import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createLab, type Lab, type LabOptions, removeStaleLabs } from '@heddle/lab';
import type { Platform } from '@heddle/sys';
import type { Aim } from './catalog.ts';
import { type Site, type SiteName, sites } from './sites.ts';
import type { Round, RoundResult, RoundVariant } from './traffic/client.ts';
import { Sockets } from './traffic/sockets.ts';
import type { Balancer, BalancerName } from './variants/balancer.ts';
import { Heddle } from './variants/heddle.ts';
import { HeddleNetwork, type NetworkName, prepareClient } from './variants/heddle-network.ts';
import {
  iptables,
  kubeNetworkPolicies,
  kubeRouter,
  masquerade,
  nftables,
} from './variants/netfilter.ts';

/** A way for a client to reach a server, measured beside the others. */
export interface Variant extends RoundVariant {
  readonly name: string;
}

const aims = ['service', 'any service', 'direct'] as const;

/** The options of a lab whose pods Heddle connects. */
const connectedByHeddle = { podsPerNode: 0, podRoutes: false } as const;

/** The base of all ratios: direct traffic where there never was a rule or a program. */
export const baseName = 'direct';

/**
 * Four labs of a site, which differ only in the load balancer, so that none of them disturbs
 * another.
 * The labs are removed by `dispose`, with the process, or when the next lab is made.
 */
export class World implements Disposable {
  readonly platform: Platform;
  readonly plain: Lab;
  readonly heddleLab: Lab;
  readonly heddle: Heddle;
  readonly balancers: readonly Balancer[];
  readonly #siteName: SiteName;
  readonly #site: Site;
  readonly #labs: Lab[] = [];
  readonly #sockets: Sockets;
  #server: ChildProcess | undefined;
  #client: ChildProcess | undefined;

  /** `beside` is the built program of another commit, which is measured beside this one. */
  constructor(platform: Platform, site: SiteName, beside?: string) {
    this.platform = platform;
    this.#siteName = site;
    this.#site = sites[site];
    this.#sockets = new Sockets(platform);
    removeStaleLabs(platform);
    this.plain = this.#lab('plain');
    const { isNetwork } = this.#site;
    this.heddleLab = this.#lab('heddle', isNetwork ? connectedByHeddle : {});
    this.heddle = new Heddle(this.heddleLab, this.folder('heddle'), site);
    const makers: readonly [BalancerName, () => Balancer][] = [
      ['heddle', () => (isNetwork ? this.#network('heddle', this.heddleLab) : this.heddle)],
      ['other', () => this.#other(site, beside!)],
      ['iptables', () => iptables(this.#lab('iptables'), site)],
      ['nftables', () => (isNetwork ? masquerade : nftables)(this.#lab('nftables'), site)],
      [
        'heddle policies',
        () => this.#network('heddle policies', this.#lab('policies', connectedByHeddle)),
      ],
      [
        'heddle visibility',
        () => this.#network('heddle visibility', this.#lab('visible', connectedByHeddle)),
      ],
      ['kube-router', () => kubeRouter(this.#lab('kube-router'))],
      ['kube-network-policies', () => kubeNetworkPolicies(this.#lab('queue'))],
    ];
    this.balancers = makers
      .filter(([name]) =>
        name === 'other' ? beside !== undefined : this.#site.balancers.includes(name),
      )
      .map(([, make]) => make());
  }

  /** Returns a folder that goes with the lab of Heddle. */
  folder(name: string): string {
    const path = `${dirname(this.heddleLab.bpffs)}/bench/${name}`;
    mkdirSync(path, { recursive: true });
    return path;
  }

  /**
   * Programs `count` services, or as many policies, in every lab. Returns the variants to measure, the base first,
   * and why some are left out.
   */
  async install(
    count: number,
  ): Promise<{ variants: Variant[]; skipped: Map<BalancerName, string> }> {
    const { client, backendPods } = this.#site;
    const variant = (name: string, lab: string, place: string, aim: Aim): Variant => {
      return { name, lab, place, site: this.#siteName, aim };
    };
    const variants = [
      variant(baseName, this.plain.name, client, { kind: 'direct' }),
      variant('loopback', this.plain.name, backendPods[0]!, { kind: 'loopback' }),
    ];
    const skipped = new Map<BalancerName, string>();
    for (const balancer of this.balancers) {
      const { name, lab } = balancer;
      const why = await balancer.install(count);
      if (why !== undefined) {
        skipped.set(name, why);
        continue;
      }
      const { isDirect } = this.#site;
      const kinds = isDirect ? (['direct'] as const) : aims;
      for (const kind of kinds) {
        const aim: Aim = kind === 'direct' ? { kind } : { kind, count };
        variants.push(variant(`${name} ${kind}`, lab, client, aim));
      }
    }
    return { variants, skipped };
  }

  /** Has the client process measure one round. */
  async round(round: Omit<Round, 'variants'>, variants: readonly Variant[]): Promise<RoundResult> {
    await this.serve(quietCpu(this.platform));
    this.#client ??= await this.#start('client.ts', [`${quietCpu(this.platform)}`]);
    this.#client.send({
      ...round,
      variants: variants.map(({ lab, place, site, aim }) => ({ lab, place, site, aim })),
    } satisfies Round);
    return (await answer(this.#client)) as RoundResult;
  }

  /** Starts the server of all backends on a processor; one that runs stays there. */
  async serve(cpu: number): Promise<void> {
    const pods = this.#labs.flatMap((lab) =>
      this.#site.backendPods.map((pod) => `${lab.name}/${pod}`),
    );
    this.#server ??= await this.#start('server.ts', [`${cpu}`, ...pods]);
  }

  /** Runs a command to its end in the pod of a variant, and gives what it printed. */
  async run(variant: Variant, cpu: number, command: string, args: readonly string[]) {
    const place = this.#labs.find(({ name }) => name === variant.lab)!.host(variant.place);
    // Child processes inherit the processors that this process may use.
    const allowed = this.#sockets.processors();
    this.#sockets.pinTo(cpu);
    let child: ChildProcess;
    try {
      child = place.spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    } finally {
      this.#sockets.allowProcessors(allowed);
    }
    let output = '';
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.on('data', (data) => {
        output += data;
      });
    }
    const [code] = await once(child, 'close');
    if (code !== 0) throw new Error(`run ${command} for ${variant.name}: ${output.slice(0, 300)}`);
    return output;
  }

  /** Microseconds of a processor that everything in the labs has taken so far. */
  cpuUs(): number {
    return this.#labs
      .map(({ cgroup }) => /usage_usec (\d+)/.exec(readFileSync(`${cgroup}/cpu.stat`, 'utf8'))![1])
      .reduce((sum, us) => sum + Number(us), 0);
  }

  /** Several times is fine. */
  [Symbol.dispose](): void {
    this.#client?.disconnect();
    for (const lab of this.#labs) lab[Symbol.dispose]();
  }

  #network(name: NetworkName, lab: Lab): HeddleNetwork {
    return new HeddleNetwork(lab, this.folder(lab.name), this.#siteName, name);
  }

  #other(site: SiteName, build: string): Heddle {
    return new Heddle(this.#lab('other'), this.folder('other'), site, { build });
  }

  #lab(name: string, options: Partial<LabOptions> = {}): Lab {
    const lab = createLab(this.platform, {
      ...this.#site.lab,
      ...options,
      name: `bench-${this.#siteName}-${name}-${process.pid}`,
    });
    this.#labs.push(lab);
    this.#site.prepare(lab);
    for (const place of [...lab.pods, ...lab.outside]) prepareClient(place);
    return lab;
  }

  /** Both ends live in the lab without rules, and open each socket in the pod where it belongs. */
  async #start(script: string, args: readonly string[]): Promise<ChildProcess> {
    const path = fileURLToPath(new URL(`./traffic/${script}`, import.meta.url));
    const child = this.plain.pods[0]!.spawn(process.execPath, [path, ...args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await answer(child);
    return child;
  }
}

/** Returns the processor that both ends of a measured connection share; interrupts tend to be on the first. */
export function quietCpu(platform: Platform): number {
  return platform.possibleCpus - 1;
}

/** Returns the next message of a child. Throws an Error when the child ends instead. */
export function answer(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const failed = (code: number | null, signal: string | null) =>
      reject(new Error(`measure: a process of the benchmark ended (${signal ?? code})`));
    child.once('exit', failed);
    child.once('message', (message) => {
      child.off('exit', failed);
      resolve(message);
    });
  });
}
