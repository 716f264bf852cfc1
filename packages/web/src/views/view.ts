import type { Api } from '../page/api.ts';
import type { PageState } from '../page/state.svelte.ts';

/**
 * The properties of each view's component. A view shows what `page.route` says: `path` and `keys` have its
 * own part of the URL. It changes what is seen only by `navigate`, so that each picture has a link and the
 * button Back works; `page.href` gives the same change as the address of a link.
 *
 * `page.map` follows the stream, or the window when it is not live. Other answers a view asks for by itself,
 * with `page.query` as the parameters, in an effect that reads `page.tick`; `Loader` of parts/ keeps the
 * old answer until the new one is there.
 */
export interface ViewProps {
  readonly api: Api;
  readonly page: PageState;
  readonly navigate: PageState['navigate'];
}
