import { formatEndpoint, type Platform, pathExists } from '@heddle/sys';
import type { ClusterAccess } from './access.ts';
import { CredentialFiles } from './credential-files.ts';
import { KubeconfigError } from './errors.ts';
import { type Environment, environmentProxy } from './proxy.ts';
import { parseServer } from './server.ts';

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/**
 * Returns the access of the pod's service account at the service address of the API servers; undefined
 * outside of a pod. Token and CA are read again when they are rotated. Throws KubeconfigError for a malformed
 * environment of the pod.
 */
export function inClusterAccess(
  platform: Platform,
  environment: Environment,
  folder: string = accountFolder,
): ClusterAccess | undefined {
  const host = environment.KUBERNETES_SERVICE_HOST;
  const port = environment.KUBERNETES_SERVICE_PORT;
  if (!host || !port || !pathExists(platform, `${folder}/token`)) return undefined;
  const server = parseServer(`https://${formatEndpoint(host, Number(port))}`);
  if (typeof server === 'string') {
    throw new KubeconfigError(
      `use KUBERNETES_SERVICE_HOST ${host} and KUBERNETES_SERVICE_PORT ${port}: ${server}`,
    );
  }
  const files = new CredentialFiles(platform, {
    ca: { file: `${folder}/ca.crt` },
    token: { file: `${folder}/token` },
  });
  return {
    origin: 'service account of this pod',
    servers: [server],
    insecureSkipVerify: false,
    warnings: [],
    proxyFor: (to) => environmentProxy(environment, to),
    credentials: (_rejected, onReady) => files.give(onReady),
  };
}
