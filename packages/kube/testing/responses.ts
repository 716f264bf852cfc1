import type { ApiClient, KubeError } from '@heddle/kube';
import { decodeUtf8 } from '@heddle/sys';

/** The end of a request. */
export interface Answer {
  readonly status?: number;
  readonly headers?: ReadonlyMap<string, string>;
  readonly text: string;
  readonly error?: KubeError;
}

/** Requests `path` and waits for the end of the response. */
export function ask(client: Pick<ApiClient, 'get'>, path: string): Promise<Answer> {
  return new Promise((resolve) => {
    let head: Pick<Answer, 'status' | 'headers'> = {};
    const parts: Uint8Array[] = [];
    client.get(path, {
      onHead(status, headers) {
        head = { status, headers };
      },
      onBody: (bytes) => void parts.push(bytes.slice()),
      onEnd: (error) =>
        resolve({ ...head, text: parts.map(decodeUtf8).join(''), ...(error && { error }) }),
    });
  });
}
