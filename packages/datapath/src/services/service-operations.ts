import type { ServiceRow } from '@heddle/services';
import type { Operations } from '@heddle/state';
import type { Disposal, Platform } from '@heddle/sys';
import type { ProgrammedContents } from '../core/audit.ts';
import type { DatapathMaps } from '../core/datapath-maps.ts';
import type { ReasonCount } from '../core/drop-reasons.ts';
import { MappedArray } from '../core/mapped-array.ts';
import type { SourceRangesScope } from '../datapath-options.ts';
import { serviceCodec } from '../generated/abi.ts';
import type { OpenConnections } from '../sockets/open-connections.ts';
import type { StaleSockets } from '../sockets/stale-sockets.ts';
import type { AddressRoles } from './address-roles.ts';
import type { BackendCounters, TrafficTotals } from './backend-table.ts';
import type { FrontendMaps } from './frontend-growth.ts';
import { ReplySources } from './reply-sources.ts';
import { ServiceMaps } from './service-maps.ts';
import { ServiceRefusals } from './service-refusals.ts';
import { Slots } from './service-store.ts';
import { SourceRanges } from './source-ranges.ts';

/** The parts of a datapath that service rows are programmed with. */
export interface ServiceParts {
  readonly platform: Platform;
  readonly maps: DatapathMaps;
  readonly contents: ProgrammedContents;
  /** Releases mapped memory with the datapath. */
  readonly opened: Disposal;
  readonly staleSockets: StaleSockets;
  readonly openConnections: OpenConnections;
  readonly sourceRanges: SourceRangesScope;
  /** Makes the maps of frontends larger, for that number of entries. If absent, they do not grow. */
  readonly makeRoom: ((entries: number) => void) | undefined;
  /** Lets the programs switch to new maps, if they wait for them to be filled. Throws SysError, NetlinkError. */
  readonly activate: () => void;
}

/** Programs service rows: frontends, backends, source ranges, and the counters that belong to them. */
export class ServiceOperations implements Operations<ServiceRow> {
  /** The maps that grow. */
  readonly frontends: FrontendMaps;
  readonly #maps: ServiceMaps;
  readonly #ranges: SourceRanges;
  readonly #replySources: ReplySources;
  readonly #refusals: ServiceRefusals;
  readonly #openConnections: OpenConnections;
  readonly #activate: () => void;
  /** True when services of an earlier agent were found programmed. */
  readonly adopted: boolean;

  constructor(parts: ServiceParts) {
    const { platform, maps, contents, opened, staleSockets } = parts;
    this.#openConnections = parts.openConnections;
    this.#activate = parts.activate;
    // The programs write the round-robin cursor.
    this.frontends = {
      services: contents.map(maps.get('services'), serviceCodec.offsets.cursor),
      addresses: contents.map(maps.get('addresses')),
    };
    this.#maps = new ServiceMaps(
      {
        ...this.frontends,
        addressFilter: contents.array(maps.get('address_filter')),
        slots: new Slots(contents.array(maps.get('slots'))),
        backends: contents.array(maps.get('backends')),
        backendStats: opened.use(new MappedArray(maps.get('backend_stats'))),
      },
      {
        now: () => platform.monotonicNs(),
        onStaleSockets: (protocol) => staleSockets.expect(protocol),
        sourceRanges: parts.sourceRanges,
        makeRoom: parts.makeRoom,
      },
    );
    this.#ranges = new SourceRanges(contents.map(maps.get('source_ranges')));
    // The programs set bits of it, too, so it is not audited.
    this.#replySources = new ReplySources(opened.use(new MappedArray(maps.get('reply_sources'))));
    this.#refusals = new ServiceRefusals(maps.get('service_refused'));
    this.#dropRefusals();
    this.adopted = !this.#maps.isEmpty;
  }

  /** The roles of all addresses; the node's own and other nodes' addresses share the map with services'. */
  get roles(): AddressRoles {
    return this.#maps.roles;
  }

  update(rows: readonly ServiceRow[]): readonly (Error | undefined)[] {
    const errors: (Error | undefined)[] = rows.map((row) => {
      try {
        this.#ranges.add(row);
        return undefined;
      } catch (error) {
        return error as Error;
      }
    });
    // Rows that were not admitted release room, so they go first.
    for (const releasesRoom of [true, false]) {
      const guarded = rows.filter(
        (row, i) => errors[i] === undefined && (row.notAdmitted !== undefined) === releasesRoom,
      );
      for (const row of guarded) this.#replySources.expect(row);
      const results = this.#maps.update(guarded);
      guarded.forEach((row, i) => {
        if (results[i]) errors[rows.indexOf(row)] = results[i];
        else this.#ranges.commit(row);
      });
    }
    this.#openConnections.set(this.#maps.countsOpen);
    rows.forEach(({ notAdmitted }, i) => {
      if (notAdmitted !== undefined) errors[i] ??= new Error(notAdmitted);
    });
    return errors;
  }

  remove(keys: readonly string[]): readonly (Error | undefined)[] {
    const errors = this.#maps.remove(keys);
    this.#openConnections.set(this.#maps.countsOpen);
    keys.forEach((key, i) => {
      if (!errors[i]) this.#ranges.remove(key);
    });
    this.#dropRefusals();
    return errors;
  }

  /** Removes what belongs to no row. Before that the programs switch to new maps, if they wait for them to be filled. */
  prune(desired: Iterable<ServiceRow>): void {
    this.#activate();
    this.#maps.prune(desired);
    this.#ranges.prune();
    this.#dropRefusals();
  }

  /**
   * Deletes frontends at addresses and ports of TCP, so that sockets of this node reach what is there itself.
   * ClusterIPs stay. Throws SysError.
   */
  dropFrontends(endpoints: readonly { readonly address: string; readonly port: number }[]): void {
    for (const { address, port } of endpoints) this.#maps.dropFrontend(address, port);
  }

  /** Returns the counters of a row's backends, or nothing when the row is not programmed. */
  backendCounters(rowKey: string): readonly BackendCounters[] {
    return this.#maps.backendCounters(rowKey) ?? [];
  }

  /** Returns the refused packets and calls of a row's service by reason, most first; none before it is programmed. */
  rowRefusals(rowKey: string): ReasonCount[] {
    const id = this.#maps.idOf(rowKey);
    return this.#refusals
      .all()
      .filter(({ service }) => service === id)
      .map(({ reason, count }) => ({ reason, count }));
  }

  /** Returns what was refused of all services with the row of each, most first. Throws SysError. */
  *refusalCounts(): Generator<ReasonCount & { readonly rowKey: string }> {
    for (const { service, reason, count } of this.#refusals.all()) {
      const rowKey = this.#maps.keyOf(service);
      if (rowKey !== undefined) yield { rowKey, reason, count };
    }
  }

  /** The number of rows that were found programmed at the start, but not as they should be. */
  get repaired(): number {
    return this.#maps.repaired;
  }

  get totals(): TrafficTotals {
    return this.#maps.totals;
  }

  /** The number of entries of each map, by the map's name. */
  get sizes(): Readonly<Record<string, number>> {
    return {
      ...this.#maps.size,
      source_ranges: this.#ranges.size,
      service_refused: this.#refusals.size,
    };
  }

  /** Removes counts of services that are gone: their ids may be given to others. */
  #dropRefusals(): void {
    this.#refusals.drop((id) => !this.#maps.hasId(id));
  }
}
