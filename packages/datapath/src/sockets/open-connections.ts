import { attachTracepoint, type Bpf, type BpfMap, type ObjectSpec } from '@heddle/ebpf';
import { type Platform, removeFile } from '@heddle/sys';
import { loadShared } from '../core/load-shared.ts';
import type { PinFolder } from '../core/pinned-maps.ts';

const program = 'connection_over';

/**
 * Counts TCP connections as closed when they are over, though the application keeps the socket. The program runs at
 * each change of state of the machine's TCP sockets, so it is attached only while a service chooses by open
 * connections. The link is pinned: it outlives the agent.
 */
export class OpenConnections {
  private readonly bpf: Bpf;
  private readonly platform: Platform;
  private readonly spec: ObjectSpec;
  private readonly maps: Readonly<Record<string, BpfMap>>;
  private readonly pin: string;
  /** True or false as this agent has set it; undefined: it has not set it yet. */
  private counted: boolean | undefined;

  constructor(
    bpf: Bpf,
    platform: Platform,
    spec: ObjectSpec,
    maps: Readonly<Record<string, BpfMap>>,
    folder: PinFolder,
  ) {
    this.bpf = bpf;
    this.platform = platform;
    this.spec = spec;
    this.maps = maps;
    this.pin = `${folder.links}/${program}`;
  }

  /** Says whether a service chooses by open connections. */
  set(counted: boolean): void {
    if (this.counted === counted) return;
    this.counted = counted;
    try {
      if (counted) this.attach();
      else removeFile(this.platform, this.pin);
    } catch (error) {
      this.platform.log(
        'warn',
        'connections that are over count as open until their socket is closed',
        {
          reason: (error as Error).message,
        },
      );
    }
  }

  /** The link of an earlier agent gives way: a tracepoint's link cannot get another program. */
  private attach(): void {
    using loaded = loadShared(this.bpf, this.spec, this.maps, [program]);
    using link = attachTracepoint(this.bpf, loaded.program(program));
    removeFile(this.platform, this.pin);
    link.pin(this.pin);
  }
}
