// Draws the API's document. Requests that are tried here go out as the signed-in person, with the CSRF token, unless a
// key was entered under "Authorize".
const place = document.getElementById("docs");

window.SwaggerUIBundle({
  domNode: place,
  url: place.dataset.schema,
  presets: [window.SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  requestInterceptor: (request) => {
    const sameOrigin = new URL(request.url, location.href).origin === location.origin;
    if (sameOrigin && request.method !== "GET") {
      request.headers["X-CSRFToken"] = place.dataset.csrfToken;
    }
    return request;
  },
});
