import { ClusterBuilder } from './build-cluster.ts';
import type { InventedCluster } from './cluster.ts';

/** Namespaces with their workloads: name, a letter for the kind, and the number of pods. */
const namespaces: Readonly<Record<string, string>> = {
  ingress: 'edge-gateway D3, cert-renewer D1',
  web: 'storefront D6, mobile-bff D4, admin D2, assets D2, session-store S3, storefront-canary D0',
  shop: `catalogue D4, cart D4, checkout D3, pricing D3, promotions D2, inventory D3, reviews D2,
    recommend D2, customers D3, wishlist D1, notify D2, cart-redis S3`,
  search: 'search-api D3, suggest D2, indexer D1, engine S3',
  payments: 'payment-api D3, ledger D2, fraud-check D2, payouts D1, invoices D1, payments-db S2',
  fulfilment: 'orders D3, shipping D2, warehouse D2, returns D1, labels D1, orders-db S2',
  batch: 'nightly-report J1, feed-export J1, image-resize D3, mail-worker D2, price-import J1',
  data: 'catalogue-db S3, customers-db S2, kafka S3, object-store S4, etl D1',
  monitoring: 'prometheus S1, grafana D1, alertmanager S2, logs S2, log-agent A4, node-metrics A4',
  'kube-system': 'dns D2, metrics-server D1, heddle-relay D1, api-server H3',
  preview: 'preview-17 D2, loadtest J1',
};

/** For each caller, the servers with port and connections per second. */
const calls: Readonly<Record<string, string>> = {
  internet: 'edge-gateway:443 1810',
  'office-vpn': 'edge-gateway:443 19',
  'edge-gateway':
    'storefront:8080 890, mobile-bff:8080 650, admin:8080 11, assets:8080 410, payment-api:8080 3',
  storefront: `session-store:6379 860, catalogue:8080 740, cart:8080 300, checkout:8080 41,
    search-api:8080 250, recommend:8080 230, reviews:8080 120, customers:8080 88`,
  'mobile-bff': `session-store:6379 500, catalogue:8080 470, cart:8080 210, checkout:8080 30,
    search-api:8080 180, customers:8080 64, wishlist:8080 23`,
  admin: 'catalogue:8080 3, orders:8080 5, customers:8080 2, promotions:8080 1, invoices:8080 1',
  catalogue: 'catalogue-db:5432 530, pricing:8080 600, inventory:8080 210',
  cart: 'cart-redis:6379 680, pricing:8080 270, promotions:8080 105, catalogue:8080 150',
  checkout: `cart:8080 73, pricing:8080 72, customers:8080 70, payment-api:8080 71, orders:8080 63,
    inventory:8080 69`,
  pricing: 'catalogue-db:5432 94, promotions:8080 125',
  promotions: 'catalogue-db:5432 29',
  inventory: 'warehouse:8080 58, catalogue-db:5432 84',
  reviews: 'catalogue-db:5432 39, customers:8080 17',
  recommend: 'kafka:9092 12, catalogue:8080 90',
  customers: 'customers-db:5432 210, notify:8080 6',
  wishlist: 'catalogue:8080 21, customers-db:5432 9',
  notify: 'kafka:9092 30, smtp.post.example:587 8',
  'search-api': 'engine:9200 420, suggest:8080 155',
  suggest: 'engine:9200 150',
  indexer: 'kafka:9092 14, engine:9200 22, catalogue-db:5432 3',
  'payment-api': 'ledger:8080 74, fraud-check:8080 72, api.cardpay.example:443 70',
  ledger: 'payments-db:5432 148',
  'fraud-check': 'customers:8080 20, payments-db:5432 15',
  payouts: 'ledger:8080 2, rates.bank.example:443 1, payments-db:5432 2',
  invoices: 'payments-db:5432 6, object-store:9000 4, mail-worker:8080 2',
  orders: 'orders-db:5432 128, shipping:8080 40, notify:8080 32, kafka:9092 63',
  shipping: 'labels:8080 14, warehouse:8080 27, 10.20.0.0/16:8443 11',
  warehouse: 'orders-db:5432 22, kafka:9092 9',
  returns: 'orders:8080 3, payment-api:8080 1',
  labels: 'object-store:9000 13',
  'nightly-report': 'orders-db:5432 4, object-store:9000 1',
  'feed-export': 'catalogue-db:5432 6, object-store:9000 2',
  'image-resize': 'object-store:9000 47, kafka:9092 12',
  'mail-worker': 'kafka:9092 9, smtp.post.example:587 5',
  kafka: 'object-store:9000 3',
  etl: 'kafka:9092 20, object-store:9000 8, catalogue-db:5432 1, orders-db:5432 1',
  grafana: 'prometheus:9090 6, logs:3100 3',
  'log-agent': 'logs:3100 88',
  'metrics-server': 'node-metrics:10250 2',
  alertmanager: 'smtp.post.example:587 1',
  'cert-renewer': 'api-server:6443 1',
  'heddle-relay': 'api-server:6443 2',
  prometheus: 'api-server:6443 3, alertmanager:9093 1',
  'preview-17': 'catalogue:8080 5, cart:8080 3',
};

const kinds = {
  D: 'Deployment',
  S: 'StatefulSet',
  A: 'DaemonSet',
  J: 'Job',
  H: 'Host',
} as const;

/** Minutes since the drops at checkout began. */
export const troubleMinutes = 68;

/** Returns an invented shop of 64 workloads, in which checkout cannot reach ledger. */
export function shop(): InventedCluster {
  const builder = new ClusterBuilder(
    'shop-berlin',
    ['rack1-a', 'rack1-b', 'rack2-a', 'rack2-b'],
    7,
  );
  builder.addOutside('internet', '203.0.113.77', '198.51.100.9', '192.0.2.14');
  builder.addOutside('office-vpn', '198.18.4.2');
  for (const [namespace, list] of Object.entries(namespaces)) {
    for (const [, name, letter, pods] of list.matchAll(/(\S+) ([A-Z])(\d+)/g)) {
      builder.add(namespace, name!, kinds[letter as keyof typeof kinds], Number(pods));
    }
  }
  builder.addOutside('api.cardpay.example', '192.0.2.80');
  builder.addOutside('smtp.post.example', '192.0.2.25');
  builder.addOutside('rates.bank.example', '192.0.2.90');
  builder.addOutside('10.20.0.0/16', '10.20.3.7', '10.20.9.1');
  for (const [from, list] of Object.entries(calls)) {
    for (const [, to, port, rate] of list.matchAll(/([^\s,]+):(\d+) (\d+)/g)) {
      builder.link(from, to!, Number(port), Number(rate));
    }
  }
  addTrouble(builder);
  addHubs(builder);
  return builder.result();
}

/** Adds what goes wrong, and what is new or quiet. */
function addTrouble(builder: ClusterBuilder): void {
  const policy = (namespace: string, name: string) => ({
    allowedBy: { kind: 'NetworkPolicy', namespace, name },
  });
  builder.link('checkout', 'ledger', 8443, 0, { dropped: 38, first: troubleMinutes });
  builder.link('preview-17', 'payment-api', 8080, 0, { dropped: 4, first: 323 });
  builder.link('nightly-report', 'payments-db', 5432, 0, { dropped: 2, last: 716 });
  builder.link('loadtest', 'storefront-canary', 80, 0, { refused: 3, first: 12 });
  builder.link('internet', 'admin', 443, 0, { dropped: 0.4, first: 200, last: 4 });
  builder.link('internet', 'edge-gateway', 8443, 0, { dropped: 0.05, first: 90, last: 3 });
  builder.link('etl', 'customers-db', 5432, 1, {
    ...policy('data', 'customers-db-ingress'),
    first: 31,
  });
  builder.link('price-import', 'catalogue-db', 5432, 3, { last: 412 });
}

/** Adds the calls of nearly all workloads to the DNS servers, and the scrapes of nearly all. */
function addHubs(builder: ClusterBuilder): void {
  for (const { namespace, name, pods } of [...builder.workloads]) {
    if (namespace === '' || pods.length === 0) continue;
    if (name !== 'dns') builder.link(`${namespace}/${name}`, 'dns', 53, 2 + builder.random() * 9);
    if (name !== 'prometheus') builder.link('prometheus', `${namespace}/${name}`, 9102, 0.2);
  }
}
