import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { sveltePlugin } from './svelte-plugin.ts';

/** A file of the built page. */
export interface PageFile {
  readonly type: string;
  readonly body: Uint8Array;
  /** The first 16 hexadecimal digits of the body's SHA-256, for the ETag. */
  readonly hash: string;
}

/** The files of the built page by name. */
export type PageFiles = Readonly<Record<'index.html' | 'page.js' | 'page.css', PageFile>>;

const source = (file: string) => fileURLToPath(new URL(file, import.meta.url));
let built: Promise<PageFiles> | undefined;

/**
 * Returns the built page; the first call of a process builds it. The index refers to the script and the
 * styles by their hashes, so a browser never combines files of two versions.
 *
 * @throws Error of esbuild, with the messages of the compiler.
 */
export function buildPage(): Promise<PageFiles> {
  built ??= bundle();
  return built;
}

async function bundle(): Promise<PageFiles> {
  const { outputFiles } = await build({
    entryPoints: { page: source('page/main.ts') },
    outdir: '/',
    bundle: true,
    write: false,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: ['chrome120', 'firefox121', 'safari17.2'],
    conditions: ['svelte', 'browser', 'production'],
    plugins: [sveltePlugin],
    legalComments: 'eof',
    logLevel: 'warning',
  });
  const output = (end: string) => outputFiles.find(({ path }) => path.endsWith(end))!.contents;
  const js = pageFile('text/javascript; charset=utf-8', output('.js'));
  const css = pageFile('text/css; charset=utf-8', output('.css'));
  const html = readFileSync(source('page/index.html'), 'utf8')
    .replace('page.css', `page.css?${css.hash}`)
    .replace('page.js', `page.js?${js.hash}`);
  return {
    'index.html': pageFile('text/html; charset=utf-8', new TextEncoder().encode(html)),
    'page.js': js,
    'page.css': css,
  };
}

function pageFile(type: string, body: Uint8Array): PageFile {
  return { type, body, hash: createHash('sha256').update(body).digest('hex').slice(0, 16) };
}
