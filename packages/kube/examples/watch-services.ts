// Prints the services of the cluster of the kubeconfig's current context, and their changes:
//   node packages/kube/examples/watch-services.ts
import { ApiClient, KubeError, ListWatch, readKubeconfig } from '@heddle/kube';
import { nodePlatform } from '@heddle/sys/node';

const platform = nodePlatform();

function clusterAccess() {
  try {
    return readKubeconfig(platform, process.env);
  } catch (error) {
    if (!(error instanceof KubeError)) throw error;
    console.error(error.message);
    process.exit(1);
  }
}

const access = clusterAccess();
for (const warning of access.warnings) console.error(warning);
const client = new ApiClient(platform, access);
const services = new ListWatch({
  platform,
  client,
  resource: {
    path: '/api/v1/services',
    fields: { spec: { clusterIP: true } },
    read: (object) => (object as { spec: { clusterIP?: string } }).spec.clusterIP ?? 'none',
  },
  onChanges(changes) {
    for (const change of changes) {
      console.log(change.key, change.op === 'set' ? change.value : 'is deleted');
    }
  },
  onState: ({ phase, error }) => console.error(`${phase} ${client.server} ${error ?? ''}`),
});
process.once('SIGINT', () => {
  services[Symbol.dispose]();
  client[Symbol.dispose]();
});
