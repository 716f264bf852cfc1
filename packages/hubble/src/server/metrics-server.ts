import { createServer } from 'node:http';
import { listenText } from './server.ts';

/**
 * Serves metrics in Prometheus' text format at `/metrics`, until the result is disposed. `onProblem` receives problems that
 * no client sees. Throws an Error that names the address.
 */
export async function serveMetrics(
  listen: { readonly host: string; readonly port: number },
  metricsText: () => string,
  onProblem: (message: string) => void,
): Promise<Disposable> {
  const server = createServer((request, response) => {
    const isFound = request.method === 'GET' && request.url === '/metrics';
    response.statusCode = isFound ? 200 : 404;
    response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8');
    response.end(isFound ? metricsText() : 'metrics are at /metrics\n');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new Error(`serve metrics on ${listenText(listen)}: ${cause.message}`, { cause }));
    });
    server.listen(listen.port, listen.host, () => resolve());
  });
  server.on('error', (error) => onProblem(`serve metrics: ${error.message}`));
  return {
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
