import { deploymentObjects } from './objects.ts';
import { defaultSettings, settings } from './settings.ts';
import { ChartValue, writeYaml, type Yaml } from './yaml.ts';

const notice = '# Made by `node tools/chart.ts` from packages/deploy/src/; change it there.\n';

/** The files of the Helm chart by their path in its folder. */
export function chartFiles(version: string): ReadonlyMap<string, string> {
  const files = new Map([
    ['Chart.yaml', notice + writeYaml(about(version))],
    ['values.yaml', notice + values(version)],
    ['values.schema.json', `${JSON.stringify(valuesSchema(), null, 2)}\n`],
  ]);
  for (const object of deploymentObjects(chartValues)) {
    files.set(`templates/${object.kind.toLowerCase()}.yaml`, notice + writeYaml(object));
  }
  return files;
}

const value = (path: string) => new ChartValue(`.Values.${path}`);

const chartValues = {
  image: value('image'),
  // Helm puts a release where `--namespace` says.
  namespace: new ChartValue('.Release.Namespace'),
  apiServers: value('apiServers'),
  nodeSelector: value('nodeSelector'),
  tolerations: value('tolerations'),
  logLevel: value('logLevel'),
  devices: value('devices'),
  xdp: value('xdp'),
  podDevices: value('podDevices'),
  forwarding: value('forwarding'),
  snatPorts: value('snatPorts'),
  nodePortAddresses: value('nodePortAddresses'),
  sourceRanges: value('sourceRanges'),
  externalIPs: value('externalIPs'),
  sizes: {
    services: value('sizes.services'),
    servicesMax: value('sizes.servicesMax'),
    backends: value('sizes.backends'),
    slots: value('sizes.slots'),
    affinity: value('sizes.affinity'),
    flows: value('sizes.flows'),
  },
  timeouts: {
    tcpHandshake: value('timeouts.tcpHandshake'),
    tcpEstablished: value('timeouts.tcpEstablished'),
    tcpHalfClosed: value('timeouts.tcpHalfClosed'),
    tcpClosed: value('timeouts.tcpClosed'),
    tcpReset: value('timeouts.tcpReset'),
    udpUnanswered: value('timeouts.udpUnanswered'),
    udp: value('timeouts.udp'),
    sctpHandshake: value('timeouts.sctpHandshake'),
    sctp: value('timeouts.sctp'),
  },
  healthPort: value('healthPort'),
  metricsAddress: value('metricsAddress'),
  cgroup: value('cgroup'),
  resources: value('resources'),
  updateStrategy: value('updateStrategy'),
};

function about(version: string) {
  return {
    apiVersion: 'v2',
    name: 'heddle',
    description: 'Kubernetes services, load-balanced in the kernel',
    type: 'application',
    version,
    appVersion: version,
    // discovery.k8s.io/v1
    kubeVersion: '>=1.21.0-0',
  };
}

const ownValues = () => Object.entries(settings).filter(([name]) => name !== 'namespace');

function values(version: string): string {
  const defaults = defaultSettings(version);
  return ownValues()
    .map(([name, { about }]) => {
      const fallback = defaults[name as keyof typeof defaults] as Yaml;
      return `\n# ${about}\n${writeYaml({ [name]: fallback })}`;
    })
    .join('');
}

function valuesSchema() {
  const properties = ownValues().map(([name, { about, schema }]) => {
    const { description, ...rest } = schema;
    return [name, { ...rest, description: `${about} (${description})` }];
  });
  return {
    $schema: 'http://json-schema.org/draft-07/schema#',
    type: 'object',
    // `global` is what Helm adds to the values of a chart that another one depends on.
    properties: { ...Object.fromEntries(properties), global: { type: 'object' } },
    additionalProperties: false,
  };
}
