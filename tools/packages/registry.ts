import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { run } from './run.ts';

/** The parts of a package.json that a registry needs. */
interface Manifest {
  readonly name: string;
  readonly version: string;
}

/**
 * Packs folders of packages to `tarballs` and serves them as npm's registry does, so that npm installs
 * them by name and without a network. Packages that are not among them do not exist.
 */
export class LocalRegistry implements AsyncDisposable {
  readonly url: string;
  readonly #server: ReturnType<typeof createServer>;

  private constructor(server: ReturnType<typeof createServer>) {
    this.#server = server;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  }

  static async start(folders: readonly string[], tarballs: string): Promise<LocalRegistry> {
    await run('npm', ['pack', '--ignore-scripts', '--pack-destination', tarballs, ...folders]);
    const packages = new Map(
      folders.map((folder) => {
        const manifest: Manifest = JSON.parse(readFileSync(`${folder}/package.json`, 'utf8'));
        return [manifest.name, manifest];
      }),
    );
    const files = new Map(readdirSync(tarballs).map((file) => [file, `${tarballs}/${file}`]));
    const server = createServer((request, response) => {
      const path = decodeURIComponent(request.url!.slice(1));
      const manifest = packages.get(path);
      const file = files.get(path);
      if (manifest) response.end(JSON.stringify(packument(manifest, tarballs, server)));
      else if (file) response.end(readFileSync(file));
      else response.writeHead(404).end('{}');
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new LocalRegistry(server);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

/** Returns the registry's document of a package with one version. */
function packument(manifest: Manifest, tarballs: string, server: ReturnType<typeof createServer>) {
  const { name, version } = manifest;
  const file = `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
  const { port } = server.address() as AddressInfo;
  const shasum = createHash('sha1')
    .update(readFileSync(`${tarballs}/${file}`))
    .digest('hex');
  const dist = { tarball: `http://127.0.0.1:${port}/${file}`, shasum };
  return { name, 'dist-tags': { latest: version }, versions: { [version]: { ...manifest, dist } } };
}
