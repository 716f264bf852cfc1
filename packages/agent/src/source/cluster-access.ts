import { type ClusterAccess, inClusterAccess, readKubeconfig, withApiServers } from '@heddle/kube';
import { type Platform, pathExists } from '@heddle/sys';
import { type Config, ConfigError } from '../config.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Returns the access to the cluster: by the configured kubeconfig, else as the pod that the agent runs in, else by
 * the kubeconfig that kubectl would use. Throws KubeconfigError, and ConfigError if there is none of them.
 */
export function findAccess(
  platform: Platform,
  environment: Environment,
  { kubeconfig, context, apiServers }: Pick<Config, 'kubeconfig' | 'context' | 'apiServers'>,
): ClusterAccess {
  const access =
    kubeconfig === undefined && context === undefined
      ? (inClusterAccess(platform, environment) ?? usualAccess(platform, environment))
      : readKubeconfig(platform, environment, {
          ...(kubeconfig === undefined ? {} : { path: kubeconfig }),
          ...(context === undefined ? {} : { context }),
        });
  return withApiServers(access, apiServers);
}

function usualAccess(platform: Platform, environment: Environment): ClusterAccess {
  const { HOME: home, KUBECONFIG: named } = environment;
  if (named || (home && pathExists(platform, `${home}/.kube/config`))) {
    return readKubeconfig(platform, environment, {});
  }
  throw new ConfigError(
    'find source: there is neither a folder of manifests nor a cluster to follow; give --manifests DIR or --kubeconfig FILE (no pod’s service account, no KUBECONFIG and no ~/.kube/config were found)',
  );
}
