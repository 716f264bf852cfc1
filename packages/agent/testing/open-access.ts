import type { ClusterAccess } from '@heddle/kube';

/** Access to a scripted API server without credentials. */
export function openAccess(url: string): ClusterAccess {
  return {
    origin: 'test',
    servers: [{ host: '127.0.0.1', port: Number(new URL(url).port), isTls: false, path: '' }],
    insecureSkipVerify: false,
    warnings: [],
    proxyFor: () => undefined,
    credentials(_rejected, onReady) {
      onReady({});
      return { [Symbol.dispose]() {} };
    },
  };
}
