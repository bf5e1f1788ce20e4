/**
 * The filters of `npm run bench:search -- --only filters`, over the data set of dataset.ts: each
 * kind of condition on common and on rare keys and values.
 */
export const filters: readonly string[] = [
  // Everything, and what every span has.
  "{ }",
  "{ status = error }",
  "{ status != error }",
  "{ kind = server }",
  "{ duration > 50ms }",
  "{ duration > 160ms }",
  "{ duration < 200us }",
  "{ duration > 20ms && duration < 21ms }",
  '{ name = "GET /api/v1/orders/4" }',
  '{ name != "GET /api/v1/orders/4" }',
  // Equality on attributes: few values, many values, one per trace, unique, none.
  '{ resource.service.name = "shop-service-7" }',
  '{ resource.service.name = "no-such-service" }',
  '{ resource.telemetry.sdk.language = "python" }',
  '{ resource.service.instance.id = "shop-service-3-6f9d8c7b5-10" }',
  '{ span.http.request.method = "POST" }',
  "{ span.http.response.status_code = 500 }",
  "{ span.http.response.status_code = 404 }",
  "{ span.thread.id = 7 }",
  '{ span.user.id = "user-77" }',
  '{ span.order.id = "order-1" }',
  '{ span.request.id = "0123456789ab" }',
  '{ span.shop.basket = "basket-77" }',
  '{ span.shop.coupon = "SPRING-7" }',
  '{ .http.request.method = "PUT" }',
  // Ranges on attributes.
  "{ span.http.response.status_code >= 500 }",
  "{ span.server.port > 8040 }",
  "{ span.server.port < 8001 }",
  "{ span.thread.id >= 60 && span.thread.id != 63 }",
  // Existence.
  "{ span.shop.coupon != nil }",
  "{ span.shop.coupon = nil }",
  "{ span.http.route != nil }",
  "{ span.no.such.key != nil }",
  '{ span.shop.coupon != "SPRING-7" }',
  '{ span.http.request.method != "GET" && span.http.request.method != "POST" }',
  // Regular expressions.
  '{ name =~ "POST /api/v1/(carts|users)/.*" }',
  '{ name =~ ".*orders.*" }',
  '{ name !~ "(GET|PUT) .*" }',
  '{ resource.service.name =~ "shop-service-1.*" }',
  '{ span.user.id =~ "user-77.?" }',
  '{ span.order.id =~ ".*77777$" }',
  '{ span.request.id =~ "0123.*" }',
  '{ span.request.id =~ ".*[0-9]{11}.*" }',
  '{ span.shop.coupon =~ "SPRING-(7|8|9)" }',
  // Arithmetic.
  "{ duration * 2 > 161ms }",
  "{ span.server.port - 8000 > 45 }",
  "{ span.http.response.status_code / 100 = 5 }",
  "{ span.thread.id + span.server.port > 8100 }",
  // Several conditions.
  '{ resource.service.name = "shop-service-7" && duration > 150ms }',
  '{ name = "GET /api/v1/orders/4" && duration > 100ms }',
  '{ status = error && resource.service.name = "shop-service-12" }',
  '{ span.http.request.method = "GET" || span.http.response.status_code = 500 }',
  '{ !(status = error) && duration > 100ms && span.user.id = "user-5" }',
  // Events.
  '{ event:name = "exception" }',
  '{ event.exception.type = "TimeoutError" && duration > 100ms }',
  // Values of whole traces.
  '{ rootServiceName = "shop-service-7" }',
  '{ rootName = "GET /api/v1/orders/4" }',
  "{ trace:duration > 150ms }",
  "{ span:childCount > 12 }",
  "{ nestedSetParent < 0 && duration > 50ms }",
  "{ trace:duration > 100ms && status = error }",
];
