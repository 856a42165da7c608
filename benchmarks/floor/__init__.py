"""What the hub is measured against: views as one writes them with Django REST framework and the ORM, and no more."""
