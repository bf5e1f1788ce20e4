/** The simulated shop: its services with their routes, methods, databases and topics. */

export interface Service {
  name: string;
  /** Index in `services`. Calls go only to higher indexes, so that there are no cycles. */
  index: number;
  language: string;
  /** HTTP routes, as `METHOD /route`. */
  routes: readonly string[];
  /** Methods of its RPC service. */
  methods: readonly string[];
  database: string;
  /** The topic that it publishes to. */
  topic: string;
}

/** Services that users and partners call; most traces start here. */
export const edgeNames: readonly string[] = [
  "web-storefront",
  "mobile-bff",
  "partner-api",
  "admin-console",
  "api-gateway",
];

const innerNames: readonly string[] = (
  "auth sessions accounts customers search catalog content images recommendations reviews " +
  "wishlist cart pricing promotions checkout orders payments fraud gift-cards loyalty tax " +
  "shipping invoices returns refunds inventory warehouse picking packing carriers tracking " +
  "suppliers purchasing stock-sync notifications email sms push analytics event-router audit " +
  "feature-flags geo currency experiments"
).split(" ");

const languages = ["go", "java", "nodejs", "python", "dotnet"];
const databases = ["postgresql", "mysql", "mongodb", "elasticsearch"];
const verbs = ["Get", "List", "Update", "Reserve", "Cancel", "Quote"];

export const services: readonly Service[] = [...edgeNames, ...innerNames].map((name, index) => ({
  name,
  index,
  language: languages[index % languages.length],
  routes: [
    `GET /api/v2/${name}/{id}`,
    `GET /api/v2/${name}`,
    `POST /api/v2/${name}`,
    ...(index % 3 === 0 ? [`DELETE /api/v2/${name}/{id}`] : [`PUT /api/v2/${name}/{id}`]),
  ],
  methods: verbs.slice(index % 3, (index % 3) + 3).map((verb) => `${verb}${capitalized(name)}`),
  database: databases[index % databases.length],
  topic: `shop.${name}.events`,
}));

export const instancesPerService = 3;

function capitalized(name: string): string {
  return name
    .split("-")
    .map((part) => part[0].toUpperCase() + part.slice(1))
    .join("");
}
