import { NetlinkSocket } from '@heddle/netlink';
import { encodeUtf8, type Platform, writeFile } from '@heddle/sys';
import type { Target } from './check.ts';
import { Ethtool } from './read/ethtool.ts';
import { readText } from './read/files.ts';
import { readQdisc, writeQdisc } from './read/qdisc.ts';

/** Reads and writes settings of the node. Both throw Error. */
export interface Settings {
  read(target: Target): string;
  write(target: Target, value: string): void;
}

/**
 * Returns the settings of the node, in the network namespace of the thread at each call. `sysctls`: the
 * directory of network settings, which in a container is not that of /proc.
 */
export function nodeSettings(platform: Platform, sysctls = '/proc/sys/net'): Settings {
  const pathOf = (name: string) => name.replace(/^net\//, `${sysctls}/`);
  return {
    read(target) {
      switch (target.kind) {
        case 'sysctl':
          return readText(platform, pathOf(target.name)).replace(/\s+/g, ' ');
        case 'file': {
          const text = readText(platform, target.path);
          // Some files list all values, with the active one in parentheses.
          return /\((\w+)\)/.exec(text)?.[1] ?? text;
        }
        case 'feature': {
          using ethtool = new Ethtool(platform);
          const feature = ethtool.features(target.device).get(target.feature);
          if (!feature) throw new Error(`read ${target.feature}: the kernel has no such feature`);
          return feature.active ? 'on' : 'off';
        }
        case 'qdisc': {
          using socket = new NetlinkSocket(platform);
          return readQdisc(socket, target.device);
        }
      }
    },
    write(target, value) {
      switch (target.kind) {
        case 'sysctl':
          writeFile(platform, pathOf(target.name), encodeUtf8(value));
          return;
        case 'file':
          writeFile(platform, target.path, encodeUtf8(value));
          return;
        case 'feature': {
          using ethtool = new Ethtool(platform);
          ethtool.setFeature(target.device, target.feature, value === 'on');
          return;
        }
        case 'qdisc': {
          using socket = new NetlinkSocket(platform);
          writeQdisc(socket, target.device, value);
          return;
        }
      }
    },
  };
}
